"""Images as bodies: what cannot be is refused before it is much work, and one is decoded at a time."""

import io
import threading

import numpy as np
import pytest
from helpers.serving import Asked, refused
from PIL import Image

from unveil.serving import application
from unveil.serving.limits import Limits


def image(size, kind="png"):
    found = io.BytesIO()
    Image.fromarray(np.zeros(size, np.uint8)).save(found, kind)
    return found.getvalue()


def scanned(times):
    """A progressive JPEG whose last scan stands there more often than once: each is a pass over all pixels."""
    found = io.BytesIO()
    Image.fromarray(np.zeros((60, 50), np.uint8)).save(found, "jpeg", progressive=True)
    begun, last = found.getvalue()[:-2].rsplit(b"\xff\xda", 1)
    return begun + (b"\xff\xda" + last) * times + b"\xff\xd9"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no PNG or JPEG"),
        (b"GIF89a", "no PNG or JPEG"),
        (b"\x89PNG\r\n\x1a\n", "cannot be read"),
        (b"\xff\xd8\xff" + bytes(100), "cannot be read"),
        (image((60, 50))[:60], "cannot be read"),
        (image((6, 5), "bmp"), "no PNG or JPEG"),
        (image((9_000, 9_000)), "more than"),
        (image((4_100, 4_100)), "4100 x 4100 pixels are more than 16,777,216"),
        (scanned(200), "more than 100 scans"),
    ],
)
def test_an_image_that_is_none(body, words, asked):
    answer = asked["flat"]("POST", "/encode", content=body, headers={"Content-Type": "image/png"})
    refused(answer, 400, words)


def test_a_jpeg_in_a_few_scans_is_read(asked):
    answer = asked["flat"]("POST", "/encode", content=scanned(1), headers={"Content-Type": "image/jpeg"})
    assert answer.status_code == 200


PNG = {"Content-Type": "image/png"}


class Slowly:
    """A decoder that goes on when it is told to, and counts how many go on at once."""

    def __init__(self, right):
        self.right, self.gate, self.now, self.most = right, threading.Event(), 0, 0

    def __call__(self, *given):
        self.now += 1
        self.most = max(self.most, self.now)
        self.gate.wait(20)
        self.now -= 1
        return self.right(*given)


def test_one_image_is_decoded_at_a_time_although_nobody_waits_for_it_any_more(runs, monkeypatch):
    slowly = Slowly(application.decode)
    monkeypatch.setattr(application, "decode", slowly)
    one = Asked(runs["flat"], Limits(seconds=0.05))
    for _ in range(3):
        refused(one("POST", "/encode", content=image((6, 5)), headers=PNG), 503, "too many images")
    slowly.gate.set()
    one.close()
    assert slowly.most == 1


def test_images_that_wait_to_be_decoded_fill_no_more_memory_than_they_may(runs, monkeypatch):
    slowly = Slowly(application.decode)
    monkeypatch.setattr(application, "decode", slowly)
    one = Asked(runs["flat"], Limits(body=10_000, bodies=20_000, seconds=1.0))
    body = image((6, 5)).ljust(9_000)
    answers = one.together([("POST", "/encode", {"content": body, "headers": PNG})] * 3)
    assert sum("fill the memory" in answer.text for answer in answers) == 1
    slowly.gate.set()
    assert one("POST", "/encode", content=body, headers=PNG).status_code == 200, "what was held is free again"
    one.close()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("seed=x", "seed"),
        ("seed=-1", "seed"),
        ("seed=1&seed=2", "twice"),
        ("n=1", "no field"),
        ("x=1", "x cannot be"),
        ("=", "no field"),
    ],
)
def test_a_query_that_cannot_be(query, words, asked):
    answer = asked["flat"]("POST", f"/score?{query}", content=image((6, 5)), headers={"Content-Type": "image/png"})
    refused(answer, 422, words)

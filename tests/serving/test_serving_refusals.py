"""What cannot be is refused in one line that says why, whatever it is."""

import asyncio
import gzip
import json
import time

import pytest
import torch
from helpers.serving import Asked, refused

from unveil.errors import SettingError
from unveil.serving.bodies import _unique
from unveil.serving.limits import Limits
from unveil.serving.refusal import Refusal

GOOD = [[[[0, 1, 0, 1, 0]] * 6]]


RAW = {
    "nothing": (b"", 400, "no JSON"),
    "no JSON": (b"{", 400, "no JSON at character 1"),
    "two of them": (b"{}{}", 400, "Extra data"),
    "not UTF-8": (b'{"seed": "\xff"}', 400, "not UTF-8 at byte 10"),
    "UTF-16": ('{"n": 1}'.encode("utf-16"), 400, "not UTF-8"),
    "a byte order mark": (b'\xef\xbb\xbf{"n": 1}', 400, "no JSON"),
    "NaN": (b'{"seed": NaN}', 400, "JSON has no NaN"),
    "Infinity": (b'{"seed": -Infinity}', 400, "JSON has no -Infinity"),
    "more than a number": (b'{"seed": 1e999}', 400, "more than any number"),
    "a huge whole number": (b'{"seed": ' + b"9" * 5_000 + b"}", 400, "more than any number"),
    "a large whole number": (b'{"seed": ' + b"9" * 30 + b"}", 422, "seed cannot be 1e+30"),
    "a name twice": (b'{"n": 1, "n": 2}', 400, "twice"),
    "lists without end": (b"[" * 100_000, 400, "without end"),
    "objects without end": (b'{"a":' * 100_000, 400, "without end"),
    "a list": (b"[1]", 422, "the body cannot be a list of 1"),
    "null": (b"null", 422, "the body cannot be null"),
    "half a character": (rb'{"\ud800": 1}', 422, "no field"),
}


@pytest.mark.parametrize("what", RAW)
def test_a_body_that_is_no_plain_json(what, asked):
    body, status, words = RAW[what]
    answer = asked["flat"]("POST", "/sample", content=body, headers={"Content-Type": "application/json"})
    refused(answer, status, words)


class Name(str):
    """A name that counts how often it is compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Name.compared += 1
        return str.__eq__(self, other)


def test_a_name_that_stands_twice_is_found_in_one_pass():
    """Of many names, as a body has room for a million: comparing each with each would take hours."""
    names = [Name(number) for number in [*range(400), 399]]
    with pytest.raises(Refusal, match='the name "399" stands twice'):
        _unique([(name, 1) for name in names])
    assert Name.compared < 10 * len(names)


FIELDS = {
    "sample": [
        ({"n": 0}, "n cannot be 0; give a whole number from 1 to 256"),
        ({"n": 257}, "256"),
        ({"n": 1.5}, "whole"),
        ({"n": True}, "n cannot be true"),
        ({"n": "1"}, "whole"),
        ({"n": None}, "n cannot be null"),
        ({"n": [1]}, "n cannot be a list of 1"),
        ({"n": {"a": 1}}, "n cannot be an object"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**53}, "seed"),
        ({"mean": 1}, "true or false"),
        ({"label": 0}, "there is no field"),
        ({"N": 1}, "known: n, seed, mean"),
        ({"<script>": 1}, "no field"),
    ],
    "encode": [
        ({}, "x is missing"),
        ({"x": []}, "x cannot be a list of 0; give 1 to 256 there"),
        ({"x": 1}, "give a list"),
        ({"x": [1]}, "give a list of 1"),
        ({"x": [[[[0] * 5] * 5]]}, "give 6 there"),
        ({"x": [[[[0] * 4] * 6]]}, "give 5 there"),
        ({"x": [[[["0"] * 5] * 6]]}, "x cannot be"),
        ({"x": [[[[True] * 5] * 6]]}, "x cannot be true"),
        ({"x": [[[[None] * 5] * 6]]}, "x cannot be null"),
        ({"x": [[[[[0]] * 5] * 6]]}, "x cannot be a list of 1"),
        ({"x": [[[[-0.1] * 5] * 6]]}, "x cannot be -0.1"),
        ({"x": [[[[1e300] * 5] * 6]]}, "1e+300"),
        ({"x": GOOD * 257}, "256"),
        ({"x": GOOD, "seed": 1}, "no field"),
    ],
    "decode": [
        ({"z": [[0.0]]}, "give 2 there"),
        ({"z": [[0.0, 1e39]]}, "z cannot be 1e+39"),
        ({"z": [[0, 0]], "x": GOOD}, "no field"),
    ],
    "score": [({"x": GOOD, "seed": 0.5}, "seed"), ({"seed": 1}, "x is missing")],
}


@pytest.mark.parametrize(("kind", "body", "words"), [(kind, *case) for kind, cases in FIELDS.items() for case in cases])
def test_a_field_that_cannot_be(kind, body, words, asked):
    refused(asked["flat"].post(f"/{kind}", body), 422, words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"x": GOOD}, "label is missing"),
        ({"x": GOOD, "label": 2}, "label cannot be 2; give a whole number from 0 to 1, or a name"),
        ({"x": GOOD, "label": "gray"}, '"gray"'),
        ({"x": GOOD, "label": "2"}, 'label cannot be "2"; give a whole number from 0 to 1'),
        ({"x": GOOD, "label": "01"}, 'label cannot be "01"'),
        ({"x": GOOD, "label": True}, "label cannot be true"),
        ({"x": GOOD, "label": [0]}, "label cannot be a list of 1"),
        ({"x": GOOD, "label": []}, "label"),
        ({"x": GOOD, "label": None}, "label"),
    ],
)
def test_a_label_that_cannot_be(body, words, asked):
    refused(asked["conditional"].post("/encode", body), 422, words)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([50, 5e4, "Paris", 2], 'column "city" cannot be "Paris"'),
        ([50, 5e4, 0, 2], 'column "city"'),
        ([50, 5e4, "Mönsterås", 2], 'column "city" cannot be "Mönsterås"'),
        ({"age": 50, "town": "Rome"}, 'there is no column "town"; known: "age", "income", "city", "kids"'),
        ({"age": 50, "city": "Paris"}, 'column "city" cannot be "Paris"'),
        (["50", 5e4, "Rome", 2], 'column "age"'),
        ([50, 5e4, "Rome", 2.5], "whole"),
        ([50, 5e4, "Rome", -1], "kids"),
        ([50, 5e4, "Rome"], "4"),
        ([50, 5e4, "Rome", 1e39], "kids"),
        ([True, 5e4, "Rome", 1], "age"),
        (None, "a list of 4"),
    ],
)
def test_a_cell_that_cannot_be(row, words, asked):
    refused(asked["table"].post("/score", {"x": [row]}), 422, words)


@pytest.mark.parametrize(
    ("media", "status"),
    [
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("application/json; charset=latin-1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
        ("image/png", 415),
        ("application/json, text/plain", 415),
    ],
)
def test_a_page_of_another_site_cannot_send_json_as_a_form_does(media, status, asked):
    """Only these types are sent across sites without asking first, so that none of them is taken."""
    answer = asked["flat"]("POST", "/sample", content=b'{"seed": 0}', headers={"Content-Type": media})
    assert answer.status_code == status
    if status != 200:
        refused(answer, 415)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "x"])
def test_compressed_bodies_are_refused(encoding, asked):
    head = {"Content-Type": "application/json", "Content-Encoding": encoding}
    refused(asked["flat"]("POST", "/sample", content=gzip.compress(b"{}"), headers=head), 415, "send it as it is")


@pytest.mark.parametrize("path", ["/nothing", "/sample/", "/docs", "/../etc/passwd", "/sample%00", "/<script>"])
def test_a_path_at_which_there_is_nothing(path, asked):
    refused(asked["flat"]("POST", path, json={}), 404, "there is nothing at")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/sample", "POST"), ("PUT", "/sample", "POST"), ("POST", "/", "GET"), ("DELETE", "/health", "GET")],
)
def test_a_method_that_is_not_for_it(method, path, allowed, asked):
    answer = asked["flat"](method, path)
    refused(answer, 405, f"ask by {allowed}")
    assert allowed in answer.headers["allow"]


def test_a_failure_of_the_model_is_one_line_and_the_next_request_is_answered(runs, caplog):
    one = Asked(runs["flat"])
    right, kind = one.served.kinds["decode"].work.work, one.served.kinds["decode"].work

    def wrong(piece):
        if bool((piece.given["z"] > 5).any()):
            raise ArithmeticError("a secret of the machine")
        return right(piece)

    kind.work = wrong
    bad, good = {"z": [[9, 9]]}, {"z": [[0, 0]]}
    answers = one.together([("POST", "/decode", {"json": body}) for body in (good, bad, good)], held=True)
    assert [answer.status_code for answer in answers] == [200, 500, 200], "one that fails takes no others along"
    assert "secret" not in refused(answers[1], 500)
    assert "a secret of the machine" in caplog.text
    kind.work = lambda piece: (_ for _ in ()).throw(SettingError("this z cannot be"))
    refused(one.post("/decode", good), 422, "this z cannot be")
    one.close()


def test_too_many_requests_are_told_when_to_ask_again_and_then_answered(runs):
    one = Asked(runs["flat"], Limits(queue=5))
    answers = one.together([("POST", "/sample", {"json": {"seed": 0}})] * 12, held=True)
    good = [answer for answer in answers if answer.status_code == 200]
    for answer in answers:
        if answer not in good:
            refused(answer, 503, "ask again")
            assert answer.headers["retry-after"] == "1"
    assert len(good) == 4, "the fifth holds the gate"
    assert one.post("/sample", {"seed": 0}).json() == good[0].json()
    one.close()


def test_a_request_that_takes_too_long_is_let_go_and_not_computed(runs):
    one = Asked(runs["flat"], Limits(seconds=0.05))
    kind, done = one.served.kinds["sample"], []
    right = kind.work.work

    def slow(piece):
        done.append(piece.seed)
        time.sleep(0.3)
        return right(piece)

    kind.work.work = slow
    one.application.batcher.joining = False
    answers = one.together([("POST", "/sample", {"json": {"seed": seed}}) for seed in range(6)])
    for answer in answers:
        refused(answer, 503, "longer than 0.05 s")
        assert answer.headers["retry-after"] == "1"
    while one.application.batcher._jobs:
        time.sleep(0.01)
    one.close()
    assert len(done) == 1, "nobody waits for the others any more"


@pytest.mark.parametrize("size", [10_001, 50_000])
def test_a_body_that_is_too_long(size, runs):
    one = Asked(runs["flat"], Limits(body=10_000))
    body = json.dumps({"seed": 1}).encode().ljust(size)
    head = {"Content-Type": "application/json"}
    refused(one("POST", "/sample", content=body, headers=head), 413, "10,000 bytes")

    async def parts():
        for start in range(0, size, 1_000):
            yield body[start : start + 1_000]

    refused(one("POST", "/sample", content=parts(), headers=head), 413, "10,000 bytes")
    assert one("POST", "/sample", content=body[:10_000], headers=head).status_code == 200
    one.close()


def test_bodies_that_arrive_together_fill_no_more_memory_than_they_may(runs):
    one = Asked(runs["flat"], Limits(body=10_000, bodies=20_000))
    body, head = json.dumps({"seed": 1}).encode().ljust(9_000), {"Content-Type": "application/json"}

    def slowly():
        async def parts():
            for start in range(0, 9_000, 1_000):
                yield body[start : start + 1_000]
                await asyncio.sleep(0.01)

        return ("POST", "/sample", {"content": parts(), "headers": head})

    statuses = [answer.status_code for answer in one.together([slowly() for _ in range(6)])]
    assert set(statuses) <= {200, 503}
    assert 503 in statuses
    assert one("POST", "/sample", content=body, headers=head).status_code == 200, "what was held is free again"
    one.close()


def test_every_x_of_its_own_samples_is_taken_again(asked):
    for one in asked.values():
        label = {"label": 0} if one.served.facts.classes else {}
        x = one.post("/sample", {"n": 4, "seed": 1} | label).json()["x"]
        nats = torch.tensor(one.post("/score", {"x": x} | label).json()["nats"])
        assert bool(nats.isfinite().all())

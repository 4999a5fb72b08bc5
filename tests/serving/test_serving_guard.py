"""Who may ask: 40 combinations of Host and Origin, and the token."""

import itertools
import re

import pytest
from helpers.serving import Asked

from unveil.errors import SettingError
from unveil.serving.guard import Policy

OWN = ("127.0.0.1:8000", "localhost:8000", "LOCALHOST:8000", "[::1]:8000")
FOREIGN = (
    "evil.example",
    "evil.example:8000",
    "127.0.0.1",
    "127.0.0.1:8001",
    "127.0.0.1.evil.example:8000",
    "localhost.:8000",
)
ORIGINS = (None, "same", "http://evil.example", "null")
"""Ten hosts with four origins each are forty combinations."""


@pytest.mark.parametrize(("host", "origin"), list(itertools.product(OWN + FOREIGN, ORIGINS)))
def test_only_this_server_by_its_own_name_for_its_own_pages(host, origin, asked):
    origin = f"http://{host.lower()}" if origin == "same" else origin
    head = {"Host": host} | ({} if origin is None else {"Origin": origin})
    for method, path in (("POST", "/sample"), ("GET", "/"), ("OPTIONS", "/sample"), ("GET", "/nothing")):
        answer = asked["flat"](method, path, json={"seed": 0} if method == "POST" else None, headers=head)
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        if host in FOREIGN:
            assert answer.status_code == 421
        elif origin not in (None, f"http://{host.lower()}"):
            assert answer.status_code == 403
        else:
            assert answer.status_code == (405 if method == "OPTIONS" else 404 if path == "/nothing" else 200)
        if answer.status_code != 200:
            assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Host", "127.0.0.1:8000"), ("Host", "127.0.0.1:8000")], 400),
        ([("Host", "")], 421),
        ([("Host", "user@127.0.0.1:8000")], 421),
        ([("Host", "127.0.0.1:8000"), ("Origin", "http://127.0.0.1:8000"), ("Origin", "http://evil.example")], 403),
        ([("Host", "127.0.0.1:8000"), ("Origin", "http://localhost:8000")], 403),
        ([("Host", "127.0.0.1:8000"), ("Origin", "https://127.0.0.1:8000")], 403),
        ([("Host", "127.0.0.1:8000"), ("X-Forwarded-Host", "evil.example")], 200),
        ([("Host", "evil.example"), ("X-Forwarded-Host", "127.0.0.1:8000")], 421),
    ],
)
def test_headers_that_contradict_each_other(headers, status, asked):
    assert asked["flat"]("GET", "/health", headers=headers).status_code == status


def test_an_origin_that_was_allowed_may_ask_and_no_other(runs):
    one = Asked(runs["flat"], origins=("https://app.example",))
    head = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    asks = one("OPTIONS", "/sample", headers=head)
    assert asks.status_code == 204
    assert asks.headers["access-control-allow-origin"] == "https://app.example"
    answer = one.post("/sample", {"seed": 0}, headers={"Origin": "https://app.example"})
    assert (answer.status_code, answer.headers["vary"]) == (200, "Origin")
    assert "access-control-allow-credentials" not in answer.headers
    for other in ("https://app.example.evil.example", "http://app.example", "https://app.example:444", "null", "*"):
        answer = one.post("/sample", {"seed": 0}, headers={"Origin": other})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    one.close()


TOKEN = "a-token-of-several-letters"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        (f"Bearer {TOKEN.upper()}", 401),
    ],
)
def test_whoever_comes_from_elsewhere_knows_the_token(given, status, runs):
    one = Asked(runs["flat"], host="192.0.2.1", token=TOKEN, names=("models.example",))
    head = {} if given is None else {"Authorization": given}
    for host in ("192.0.2.1:8000", "127.0.0.1:8000", "models.example", "models.example:8000"):
        for path in ("/", "/health", "/openapi.json"):
            answer = one("GET", path, headers=head | {"Host": host})
            assert answer.status_code == status
        assert one.post("/sample", {"seed": 0}, headers=head | {"Host": host}).status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in answer.text
    one.close()


@pytest.mark.parametrize(
    ("host", "names", "origins", "token", "words"),
    [
        ("0.0.0.0", ("x.example",), (), None, "token_urlsafe"),
        ("0.0.0.0", ("localhost",), (), None, "can be reached by others"),
        ("::", ("127.0.0.1",), (), None, "can be reached by others"),
        ("", ("localhost",), (), None, "can be reached by others"),
        ("192.0.2.1", (), (), None, "can be reached by others"),
        ("::", (), (), TOKEN, "--allow-host"),
        ("127.0.0.1", ("models.example",), (), None, "models.example can be reached by others"),
        ("192.0.2.1", (), (), "short", "at least 16"),
        ("192.0.2.1", (), (), "with a space in between", "letters and digits"),
        ("127.0.0.1", (), ("*",), None, "'*' is no origin"),
        ("127.0.0.1", (), ("https://app.example/",), None, "no origin"),
        ("127.0.0.1", (), ("null",), None, "no origin"),
    ],
)
def test_what_would_let_anybody_ask_is_refused_before_it_starts(host, names, origins, token, words):
    with pytest.raises(SettingError, match=re.escape(words)) as caught:
        Policy.of(host, 8000, names, origins, token)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_this_machine_needs_no_token(host):
    assert Policy.of(host, 8000).token is None

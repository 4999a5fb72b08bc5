"""Requests that a machine makes up from the description, good ones and bad: each is answered as it says, none with 5xx.

`UNVEIL_MUTATIONS` says how many; `./run torture` tries 10,000, `./run test` a few hundred.
"""

import os

import pytest
import requests
import schemathesis
from helpers.serving import server
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

MUTATIONS = int(os.environ.get("UNVEIL_MUTATIONS", "300"))
HOLD = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.positive_data_acceptance,
]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
POSTS = ("sample", "encode", "decode", "reconstruct", "score")
SECONDS = 20
"""After which a request counts as one that hangs."""


@pytest.fixture(scope="module")
def ports(runs, port):
    """Of servers of an unconditional model and a conditional one, which has fields of more kinds."""
    with server(runs["conditional"].path, "--samples", "5") as (number, _):
        yield {"flat": port, "conditional": number}


@pytest.fixture(scope="module")
def described(ports):
    return {name: schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json") for name, port in ports.items()}


def operations(schema):
    return {operation.path: operation for operation in (found.ok() for found in schema.get_all_operations())}


@pytest.mark.parametrize("mode", MODES, ids=["good", "bad"])
@pytest.mark.parametrize("kind", POSTS)
@pytest.mark.parametrize("name", ["flat", "conditional"])
def test_whatever_is_made_up_is_answered_as_described(name, kind, mode, described, ports):
    each = max(1, MUTATIONS // (2 * len(POSTS) * len(MODES)))
    operation, session = operations(described[name])[f"/{kind}"], requests.Session()

    @seed(0)
    @settings(
        max_examples=each,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode))
    def answered(case):
        answer = case.call(base_url=f"http://127.0.0.1:{ports[name]}", session=session, timeout=SECONDS)
        image = (case.media_type or "").startswith("image/")  # bytes that a description lets pass need not be an image
        case.validate_response(
            answer, checks=[one for one in HOLD if not image or one is not checks.positive_data_acceptance]
        )

    answered()


def test_the_description_is_one_and_what_can_be_read_is_as_described(described, ports):
    for name, schema in described.items():
        assert schema.raw_schema["openapi"] == "3.1.0"
        assert set(schema.raw_schema["paths"]) == {"/", "/health", "/openapi.json", *(f"/{kind}" for kind in POSTS)}
        schema.validate()
        for path in ("/", "/health"):
            case = operations(schema)[path].Case()
            case.call_and_validate(base_url=f"http://127.0.0.1:{ports[name]}", timeout=SECONDS, checks=HOLD[:4])


@pytest.mark.parametrize("name", ["flat", "conditional", "ladder", "table"])
def test_what_is_described_is_what_is_read(name, asked):
    """Every bound of a field stands in the description: at it a value is taken, and beyond it refused."""
    one = asked[name]
    paths = one("GET", "/openapi.json").json()["paths"]
    n = paths["/sample"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["n"]
    assert n["maximum"] == one.served.most == 256
    for bound, beyond in ((n["minimum"], n["minimum"] - 1), (n["maximum"], n["maximum"] + 1)):
        assert one.post("/sample", {"n": bound}).status_code == 200
        assert one.post("/sample", {"n": beyond}).status_code == 422
    x = paths["/encode"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["x"]
    label = {"label": 0} if name == "conditional" else {}
    sizes, given = [], x
    while given.get("type") == "array":
        sizes.append((given["minItems"], given["maxItems"]))
        # a row of a table may be an object too
        given = (given.get("items") or {}).get("anyOf", [given.get("items") or {}])[0]
    assert sizes == [(1, 256), *((size, size) for size in one.served.facts.space.shape)]
    row = one.post("/sample", {"n": 1} | label).json()["x"][0]
    assert one.post("/encode", {"x": [row] * 256} | label).status_code == 200
    assert one.post("/encode", {"x": [row] * 257} | label).status_code == 422

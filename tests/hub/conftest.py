"""Runs to push, and a hub to push them to."""

import numpy as np
import pytest
from helpers.hub import TOKEN, running
from helpers.runs import SMALL
from huggingface_hub import close_session, constants

import unveil
from unveil.hub import leaving
from unveil.opening import PRETRAINED
from unveil.pages.shown import Shown

PICTURE = b"\x89PNG of somebody"
SECRET = "a place that is private"
"""A folder that is to be named nowhere but here."""


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on this machine, and somebody whom it knows; pictures are not drawn anew for each push."""
    with running() as hub:
        for name, value in {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "NO_PROXY": "*"}.items():
            monkeypatch.setenv(name, value)
        cache = str(tmp_path / "cache")
        nobody = str(tmp_path / "no token")
        for name, value in {"HF_HUB_CACHE": cache, "HF_TOKEN_PATH": nobody, "HF_HUB_DISABLE_XET": True}.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        drawn = Shown("samples", PICTURE, "what it made", "a sheet")
        monkeypatch.setattr(leaving, "without_data", lambda run: [drawn])
        yield hub
        close_session()


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run on pixels that lie in a folder which is nobody else's business, evaluated, with a picture of its data."""
    room = tmp_path_factory.mktemp("hub")
    (room / SECRET).mkdir()
    pixels = room / SECRET / "pixels.npy"
    np.save(pixels, np.random.default_rng(0).integers(0, 256, (200, 1, 6, 5), dtype=np.uint8))
    run = unveil.train(str(pixels), SMALL, out=room / SECRET / "run", epochs=2)
    run.evaluate(samples=5)
    (run.path / "pictures").mkdir(exist_ok=True)
    (run.path / "pictures" / "reconstructions.png").write_bytes(PICTURE)
    return run


@pytest.fixture(scope="session")
def other(tmp_path_factory, tiny):
    """Another run, on data in memory, not evaluated."""
    return unveil.train(tiny, SMALL, out=tmp_path_factory.mktemp("other") / "run", epochs=1)


@pytest.fixture(scope="session")
def files():
    """The files of a good run folder."""
    return {path.name: path.read_bytes() for path in (PRETRAINED / "mnist-2d").iterdir()}

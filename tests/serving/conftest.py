"""Four small runs of four kinds, and servers of them."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from helpers.serving import Asked, server

import unveil
from unveil.recipes import RECIPES

SHORT = {"epochs": 2, "batch_size": 50, "latent": 2}


def _table(folder):
    """Rows with words, counts and gaps."""
    source = np.random.default_rng(0)
    age = source.normal(50, 12, 300).round(1)
    with (folder / "people.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["age", "income", "city", "kids"])
        for number, one in enumerate(age):
            income = "" if number % 5 == 0 else round(one * 1_000 + source.normal(0, 4_000), 2)
            rows.writerow([one, income, "Rome" if one > 50 else "Oslo", source.poisson(2)])
    return unveil.load(str(folder / "people.csv"))


@pytest.fixture(scope="session")
def runs(tiny, tmp_path_factory):
    """By name: a flat model, a conditional one, a ladder and one of a table, each trained for an instant."""
    folder = tmp_path_factory.mktemp("served")
    small = {name: RECIPES[name].given(hidden=(16,)) for name in ("vae", "cvae", "ladder")}
    made = {
        "flat": (tiny, small["vae"]),
        "conditional": (replace(tiny, classes=("dark", "light")), small["cvae"]),
        "ladder": (tiny, small["ladder"]),
        "table": (_table(folder), RECIPES["table"]),
    }
    return {
        name: unveil.open(unveil.train(data, recipe=recipe, out=folder / name, **SHORT).path)
        for name, (data, recipe) in made.items()
    }


@pytest.fixture(scope="session")
def asked(runs):
    """By name: each of these runs to be asked in this process."""
    every = {name: Asked(run) for name, run in runs.items()}
    yield every
    for one in every.values():
        one.close()


@pytest.fixture(scope="session")
def port(runs):
    """Of a server in a process of its own."""
    with server(runs["flat"].path, "--samples", "5") as (number, _):
        yield number

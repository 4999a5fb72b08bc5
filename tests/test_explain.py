"""A recipe in Python: what is printed runs, and makes the same parts, which know the same of the data."""

import ast
import sys

import pytest
import torch
from helpers.exports import people, recipe_of, small

import unveil
from unveil.cli import main
from unveil.explain import explained
from unveil.recipes import RECIPES, recipe
from unveil.store import describe
from unveil.training import Training
from unveil.training.average import state_of


@pytest.fixture(scope="session")
def room(tmp_path_factory):
    return small(), people(tmp_path_factory.mktemp("people"))


def run(text, data, monkeypatch):
    """What printed Python leaves behind, with data and training given instead of loaded and done."""
    asked = []
    monkeypatch.setattr(unveil, "load", lambda *given, **named: data)
    monkeypatch.setattr(unveil, "train", lambda given, **named: asked.append(given) or named)
    left = {}
    exec(text, left)
    return left, asked[0]


def state(model, objective):
    return state_of(torch.nn.ModuleDict({"model": model, "objective": objective}))


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_printed_makes_the_same_parts(name, room, monkeypatch):
    images, table = room
    chosen, data = recipe_of(name), table if name == "table" else images
    seen = chosen.prepare(data)
    left, given = run(explained(chosen, data), data, monkeypatch)
    model, objective = chosen.compose(seen)
    assert describe(model=left["model"], objective=left["objective"]) == describe(model=model, objective=objective)
    assert left["training"] == chosen.training
    assert left["run"] == {name: left[name] for name in ("model", "objective", "training")}
    assert given.fingerprint == seen.fingerprint
    assert (given.train.context is None) == (seen.train.context is None)
    # what does not depend on the seed was told to parts by the data
    first, second = (state(*composed(chosen, seen, seed)) for seed in (0, 1))
    printed = state(left["model"], left["objective"])
    same = [key for key in first if torch.equal(first[key], second[key])]
    assert any(key.endswith((".mean", ".scale")) for key in same)
    assert [key for key in same if not torch.allclose(printed[key], first[key])] == []


def composed(chosen, data, seed):
    torch.manual_seed(seed)
    return chosen.compose(data)


def test_it_reads_as_a_person_would_write_it(digits):
    chosen = recipe("beta-vae").given(latent=8, hidden=(64,), beta=2.0, kl_warmup=0.0)
    assert (
        explained(chosen, digits) + "\n"
        == """\
\"\"\"The recipe 'beta-vae' on 'digits', part by part.\"\"\"

import unveil
from unveil.models import VAE
from unveil.networks import Centred, Mlp
from unveil.objectives import Distortion, Rate
from unveil.parts import Bernoulli, Gaussian, Net, Standard
from unveil.training import Training

data = unveil.load('digits', measure='binary')
encoder = Centred(Mlp((1, 8, 8), (64,), (16,), activation='gated'), (1, 8, 8))
likelihood = Net(Mlp((8,), (64,), (1, 8, 8), activation='gated'), Bernoulli())
model = VAE(Standard((8,)), Net(encoder, Gaussian((8,))), likelihood)
objective = Distortion() + 2.0 * Rate()
encoder.centre_at(data.train.mean())
likelihood.start(data.train.mean())
training = Training()
run = unveil.train(data, model=model, objective=objective, training=training)
"""
    )


def test_the_command_prints_it_and_trains_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = ["digits", "--recipe", "iwae", "--model.samples", "7", "--epochs", "1", "--latent", "3"]
    assert main(["train", *given, "--explain"]) == 0
    text = capsys.readouterr().out
    assert "Iwae(7," in text
    assert "Training(epochs=1)" in text
    assert not list(tmp_path.iterdir())
    (tmp_path / "own.py").write_text(text)
    monkeypatch.setattr(sys, "argv", ["own.py"])
    exec(compile(text, "own.py", "exec"), left := {})
    assert left["run"].model.sample(2).shape == (2, 1, 8, 8)
    assert left["run"].manifest["training"] == left["training"].__dict__
    assert isinstance(left["training"], Training)


def test_data_are_loaded_as_they_were(tmp_path):
    (tmp_path / "x.csv").write_text("a,b,c\n" + "\n".join(f"{(n * n % 71 + 1) / 3},{n % 3},{n / 7}" for n in range(100)))
    data = unveil.load(tmp_path / "x.csv", drop="c", label="b", columns="a=positive")
    text = explained(recipe("table"), data)
    loading = next(one for one in ast.parse(text).body if isinstance(one, ast.Assign))
    exec(ast.unparse(loading), {"unveil": unveil}, left := {})
    assert left["data"].fingerprint == data.fingerprint
    assert left["data"].space == data.space
    assert "data = unveil.load(...)" in explained(RECIPES["vae"], unveil.load(torch.rand(100, 4)))

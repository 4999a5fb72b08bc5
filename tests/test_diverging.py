"""Steps that are not finite: they are reported, spoil neither weights nor running means, and leave the best from before."""

import logging
import re
from dataclasses import replace
from math import isfinite

import pytest
import torch
from helpers.runs import SHORT, linear_model, normed, real_data

import unveil
from unveil.data import Feed, Plain, from_arrays
from unveil.errors import DivergedError
from unveil.objectives import Distortion, Rate
from unveil.recipes import recipe
from unveil.training import Training
from unveil.training.loop import fit


def poisoned(rows):
    """300 rows of real data, of which some training rows turned into NaN after they were checked."""
    data = from_arrays(torch.randn(300, 3, generator=torch.Generator().manual_seed(0)))
    data.train.values[rows] = torch.nan
    return data


def test_a_non_finite_batch_never_reaches_the_weights_and_is_reported(caplog):
    data = poisoned([7])
    model, objective = linear_model()
    config = Training(epochs=3, batch_size=24, precision="float32")
    with caplog.at_level(logging.WARNING):
        outcome = fit(model, objective, data, config, "float32")
    assert outcome.finished
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    warnings = [record for record in caplog.records if "left out" in record.getMessage()]
    assert len(warnings) == 3
    assert warnings[0].args[0] == 1
    # the step is named, and it is one that saw the bad row
    feed = Feed(data.train, 24, 0, torch.device("cpu"))
    named = [int(re.search(r"step (\d+) \(rows", record.getMessage())[1]) for record in warnings]
    assert all(7 in feed.positions(step) for step in named)


def test_nothing_but_non_finite_steps_is_an_error_that_leaves_the_weights():
    data = poisoned(slice(None))
    model, objective = linear_model()
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(DivergedError, match="learning rate"):
        fit(model, objective, data, Training(epochs=1, batch_size=24, validate_every=0), "float32")
    assert all(torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True))


def floats(data, bad):
    """The training split as floats, NaN in the rows `bad`."""
    values = data.train.values.float() / 255
    values[bad] = torch.nan
    return replace(data, train=replace(data.train, values=values, reading=Plain()))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_divergence_gives_the_model_its_weights_back(precision, tiny):
    torch.manual_seed(0)
    model, objective = recipe("vae").given(latent=2).compose(tiny)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(DivergedError):
        fit(model, objective, floats(tiny, slice(None)), Training(epochs=1, batch_size=50), precision)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True))


def test_a_poisoned_step_does_not_spoil_running_means(tiny):
    model = normed()
    outcome = fit(model, Distortion() + Rate(), floats(tiny, [7]), Training(epochs=2, batch_size=50), "float32")
    assert model.posterior.network.norm.running_mean.isfinite().all()
    assert outcome.best_value is not None
    assert isfinite(outcome.best_value)


class Poison:
    """Turns the training data into NaN after an epoch: from then on no step is finite."""

    def __init__(self, data, epoch):
        self.data, self.at = data, epoch

    def begin(self, watched):
        pass

    def step(self, step):
        pass

    def epoch(self, record):
        if record["epoch"] == self.at:
            self.data.train.values.fill_(torch.nan)


def test_a_run_that_diverges_leaves_its_best_weights(tmp_path):
    whole = unveil.train(
        real_data(), "vae", out=tmp_path / "short", **{**SHORT, "epochs": 2, "schedule": "constant", "warmup": 0}
    )
    data = real_data()
    with pytest.raises(DivergedError, match="best weights from before are in"):
        unveil.train(
            data, "vae", out=tmp_path / "run", monitor=Poison(data, 2), **{**SHORT, "schedule": "constant", "warmup": 0}
        )
    kept = unveil.open(tmp_path / "run")
    assert kept.manifest["status"] == "diverged"
    assert torch.equal(kept.model.sample(5, seed=0), whole.model.sample(5, seed=0))


def test_divergence_without_a_validation_split_keeps_the_average(tmp_path):
    data = real_data()
    with pytest.raises(DivergedError, match="best weights from before are in"):
        unveil.train(data, "vae", out=tmp_path / "run", monitor=Poison(data, 2), validate_every=0, **SHORT)
    assert unveil.open(tmp_path / "run").model.sample(2, seed=0).isfinite().all()

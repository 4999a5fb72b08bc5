"""`verify` on healthy models: nothing is found in them, whatever the seed, and they stay as they were."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from statistics import NormalDist

import pytest
import torch
from helpers.verdicts import composed, held, loud
from torch import nn
from torch.distributions import Independent, Laplace

from unveil.data import from_arrays
from unveil.errors import SettingError
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Iwae, Miwae, Rate, ScoreFunction, Term
from unveil.parts import Gaussian, Head, Isotropic, Net, Poisson, Standard, bounded
from unveil.training.average import state_of
from unveil.verify import LAWS, densities, draws, prepared, verify

RECIPES = {
    "vae": {},
    "iwae": {},
    "beta-tc-vae": {},
    "vamp": {"pseudo_inputs": 20},
    "vq-vae": {"codes": 8, "dimensions": 2, "width": 8, "layers": 1},
    "ladder": {"layers": 2},
    "m2": {"known": 100},
    "wae-mmd": {},
    "flow-prior": {"transforms": 2, "width": 8},
    "hvae": {},
    "svae": {},
    "factor-vae": {"critic": 8},
    "cvae": {},
    "gumbel-vae": {"classes": 4},
}
SEEDS = {"vae": (0, 1), "iwae": (0, 1), "ladder": (0, 1)}


@pytest.fixture(autouse=True)
def idle(monkeypatch):
    """The machine's matrix rate is not measured anew for each figure."""
    monkeypatch.setattr("unveil.evaluation.likelihood.nats.matrix_rate", lambda: 1e10, raising=False)


@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name in RECIPES for seed in SEEDS.get(name, (0,))])
def test_a_healthy_recipe_passes(name, seed, tiny):
    data, model, objective = composed(name, tiny, seed, **RECIPES[name])
    verdict = verify(model, objective, data, seed=seed)
    assert verdict.holds, verdict.advice()
    assert verdict.false_alarm < 1e-4
    assert sum(check.outcome == "passed" for check in verdict.checks) >= 12, verdict.table()


class LaplacePosterior(Head):
    """Independent Laplace variables."""

    def needs(self, event_shape):
        return (2 * event_shape[0],)

    def forward(self, parameters):
        mean, log_scale = parameters.float().chunk(2, dim=-1)
        return Independent(Laplace(mean, bounded(log_scale).exp(), validate_args=False), 1)


class Absolute(Term):
    """The mean over draws of sum |z|, (B,)."""

    def forward(self, draw, model, t):
        (z,) = draw.z
        return draw.mean(z.abs().sum(-1))


class Own(nn.Module):
    """A user's own network."""

    def __init__(self, before, after):
        super().__init__()
        self.before, self.after = before, after
        self.layer = nn.Linear(before, after)

    def forward(self, x):
        return self.layer(x)


def own(head=None, size=5):
    """A model of real numbers whose encoder, posterior and likelihood are nobody's but the user's."""
    torch.manual_seed(0)
    return VAE(Standard(2), Net(Own(size, 4), head or LaplacePosterior()), Net(Mlp((2,), (8,), (size,)), Isotropic()))


def test_a_model_of_one_s_own_passes_without_data():
    verdict = verify(own(), Distortion() + Rate() + 0.5 * Absolute())
    assert verdict.holds, verdict.advice()
    assert verdict.data == "made for VAE"
    assert verdict.check("posterior").outcome == "passed"
    assert "no bound" in verdict.check("bound").reason


@pytest.mark.parametrize(
    "objective", [Miwae(2, 3, "dreg"), ScoreFunction(4), Iwae(1, "sticking"), Distortion() + Rate("sticking")]
)
def test_bounds_of_every_gradient_pass_as_bounds(objective):
    model = own(Gaussian(2))
    for name in ("bound", "slope", "gradient estimators", "place in the batch", "scale"):
        check = held(name, model, objective)
        assert check.outcome == "passed", (check.name, check.reason)


def test_counts_pass_without_data():
    torch.manual_seed(0)
    model = VAE(Standard(2), Net(Mlp((4,), (8,), (4,)), Gaussian(2)), Net(Mlp((2,), (8,), (4,)), Poisson(1)))
    for name in ("likelihood", "entries of x", "samples", "draws"):
        check = held(name, model, Distortion() + Rate())
        assert check.outcome == "passed", (check.name, check.reason)


def test_model_objective_and_the_caller_s_random_state_stay_as_they_were(tiny):
    data, model, objective = composed("vq-vae", tiny, **RECIPES["vq-vae"])
    whole = nn.ModuleList([model, objective]).train()
    before = {name: value.clone() for name, value in state_of(whole).items()}
    state = torch.get_rng_state()
    first = verify(model, objective, data, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in state_of(whole).items())
    assert all(layer.training for layer in whole.modules())
    # a function of the seed, and nothing else
    torch.manual_seed(99)
    assert verify(model, objective, data, seed=3, laws=LAWS[:3]).checks == first.checks[:3]


def test_the_verdict_is_plain_data_and_says_what_it_is(tiny):
    data, model, objective = composed("vae", tiny)
    verdict = verify(model, objective, data, laws=LAWS[:2])
    written = json.loads(json.dumps(asdict(verdict)))
    assert [check["outcome"] for check in written["checks"]] == ["passed", "passed"]
    assert all(check["must"].endswith(".") and check["remedy"].endswith(".") for check in written["checks"])
    statistical = verdict.check("kl")
    assert 0 < statistical.false_alarm < 1e-6
    assert all(one.n >= 64 and one.stderr >= 0 for one in statistical.evidence)
    assert verdict.check("draws").false_alarm == 0
    assert verdict.advice() == []
    names = [name for name, _ in verdict.table()]
    assert names == ["draws", "kl", "all"]


def test_what_cannot_be_looked_at_is_refused_in_a_line(tiny):
    _, model, objective = composed("cvae", tiny)
    with pytest.raises(SettingError, match="hand over data"):
        verify(model, objective)
    with pytest.raises(SettingError, match="'binary' data"):
        verify(model, objective, from_arrays(torch.randn(50, 3)))


def test_the_page_names_every_law():
    page = (Path(__file__).parents[1] / "docs" / "verify.md").read_text()
    assert re.findall(r"^\| `([^`]*)`", page, re.MULTILINE) == [law.name for law in LAWS]


def test_the_scores_behind_the_verdict_are_those_of_noise(tiny):
    """Over seeds, gaps in units of their errors are standard normal; the stated chance of a false alarm rests on that."""
    data, model, objective = composed("vae", tiny)
    loud(model)
    scores = []
    for seed in range(12):
        looked = prepared(model, objective, data, seed=seed)
        for test in (draws.kl, densities.likelihood, densities.prior, densities.posterior):
            with looked.look(0) as fresh:
                scores += [gap.value / gap.stderr for gap in test(fresh) if gap.stderr > 1e-6]
    scores = torch.tensor(scores)
    n = len(scores)
    assert n > 500
    # means over examples that share a batch are not independent of each other: twice the error
    for limit in (1.0, 2.0, 3.0):
        share, exact = float((scores.abs() > limit).float().mean()), 2 * NormalDist().cdf(-limit)
        assert abs(share - exact) < 2 * 4 * (exact * (1 - exact) / n) ** 0.5, limit
    assert scores.abs().max() < 5

"""Numbers of the plane: the KL of each dimension, and the density of the aggregate posterior."""

from types import SimpleNamespace

import pytest
import torch
from helpers.scripts import call
from torch.distributions import Normal, kl_divergence

import unveil
from unveil.data import from_arrays
from unveil.explorer import content
from unveil.parts import Standard
from unveil.recipes import RECIPES


def test_dimensions_stand_by_falling_kl_which_is_the_mean_over_the_points(monkeypatch):
    monkeypatch.setattr(content, "facts", lambda run: SimpleNamespace(dimensions=()))
    source = torch.Generator().manual_seed(0)
    mean = torch.randn(50, 4, generator=source) * torch.tensor([0.1, 3.0, 0.0, 1.0])
    scale = torch.tensor([0.9, 0.1, 1.0, 0.5]) * torch.ones(50, 4)
    exact = kl_divergence(Normal(mean, scale), Normal(0.0, 1.0)).mean(0)
    run = SimpleNamespace(model=SimpleNamespace(prior=Standard(4)))
    monkeypatch.setattr(content, "_gaussian", lambda model, one: True)
    shown = SimpleNamespace(subset=lambda rows: None)
    found = content._dimensions(run, shown, mean, scale)
    assert [one["index"] for one in found] == [1, 3, 0, 2]
    assert [one["kl"] for one in found] == pytest.approx(exact[[1, 3, 0, 2]].tolist(), abs=1e-5)
    assert [one["collapsed"] for one in found] == [False, False, False, True]


@pytest.mark.parametrize(
    ("name", "measure", "evidence", "gaussian"),
    [
        ("vae", "binary", "log p(x)", True),
        ("vae-iaf", "binary", "log p(x)", False),
        ("cvae", "binary", "log p(x|y)", True),
        ("m2", "binary", "log p(x)", True),
        ("vae", "unit", "log of the mean weight", True),
    ],
)
def test_what_is_weighed_is_called_what_it_is_and_only_gaussians_have_their_kl(
    tiny, tmp_path, name, measure, evidence, gaussian
):
    data = from_arrays(tiny.train.values, tiny.train.labels, name="tiny", measure=measure)
    run = unveil.train(data, RECIPES[name].given(latent=2, hidden=(8,)), epochs=1, out=tmp_path / "run")
    said = content._evidence(run)
    assert said["name"] == evidence
    assert bool(said["note"]) == (measure == "unit")
    assert content._gaussian(run.model, run.suited(data).test.subset(torch.arange(1))) is gaussian


def test_the_density_of_the_aggregate_posterior_is_the_mean_of_the_posteriors(browser):
    """On the grid's middles, rows from the top; what is more than four deviations away is left out."""
    page, side = browser.new_page(), 48
    points, spreads = (
        torch.tensor([[0.5, -0.75], [1.25, 0.5], [-1.0, 1.0]]),
        torch.tensor([[0.5, 0.3], [0.4, 0.9], [0.6, 0.6]]),
    )
    given = {"points": points.flatten().tolist(), "spreads": spreads.flatten().tolist()}
    script = f"[...exported.density(given.points, given.spreads, {{ x: 0.25, y: 0.125, half: 3 }}, {side})]"
    found = torch.tensor(call(page, "ground", script, given)).reshape(side, side)
    page.close()
    middles = (torch.arange(side) + 0.5) * 6 / side - 3
    x, y = 0.25 + middles[None, :, None], 0.125 - middles[:, None, None]
    each = Normal(points[:, 0], spreads[:, 0]).log_prob(x) + Normal(points[:, 1], spreads[:, 1]).log_prob(y)
    torch.testing.assert_close(found, each.exp().mean(-1), rtol=0, atol=1e-3 * float(found.max()))

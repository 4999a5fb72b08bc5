"""The score function: unbiased by enumeration, calmed by its baseline."""

import pytest
import torch
from cases.discrete import one_hot
from helpers.discrete import batch, exact
from helpers.objectives import T

from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Rate, ScoreFunction
from unveil.parts import Bernoulli, Gaussian, Net, Standard

pytestmark = pytest.mark.usefixtures("seeded")


def gaussian():
    return VAE(Standard(2), Net(Mlp((1, 6, 5), (), (4,)), Gaussian(2)), Net(Mlp((2,), (3,), (1, 6, 5)), Bernoulli(3)))


def gradients(objective, model, given, repeats):
    """(repeats, P) gradients, and (repeats,) values, of the mean loss."""
    weights, values, found = list(model.parameters()), [], []
    for _ in range(repeats):
        loss = objective(model.draw(given, objective.samples or 1, objective.gradient or "pathwise"), model, T).mean()
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)]))
        values.append(loss.detach())
    return torch.stack(found).double(), torch.stack(values).double()


def z_scores(samples, truth):
    spread = samples.std(0) / len(samples) ** 0.5
    live = spread > 1e-9
    assert torch.allclose(samples.mean(0)[~live], truth[~live], atol=1e-6)
    return ((samples.mean(0) - truth)[live] / spread[live]).abs()


def test_the_score_function_is_unbiased_by_enumeration():
    model, given = one_hot(2, 3), batch(2)
    cost, _ = exact(model, given)
    truth = torch.cat([g.flatten() for g in torch.autograd.grad(cost.mean(), list(model.parameters()))]).double()
    found, values = gradients(ScoreFunction(3), model, given, 600)
    scores = z_scores(found, truth)
    assert scores.max() < 5  # of some 600 weights
    assert scores.square().mean() == pytest.approx(1, abs=0.4)
    assert abs(values.mean() - cost.mean()) < 4 * values.std() / len(values) ** 0.5
    relaxed, _ = gradients(Distortion() + Rate(), model, given, 600)
    assert z_scores(relaxed, truth).max() > 8  # the biased one would be told apart


def test_the_score_function_agrees_with_the_pathwise_gradient_of_a_gaussian():
    model, given = gaussian(), batch(2)
    score, values = gradients(ScoreFunction(4), model, given, 500)
    path, others = gradients(Distortion() + Rate(), model, given, 500)
    spread = ((score.var(0) + path.var(0)) / 500).sqrt()
    live = spread > 1e-9
    assert ((score.mean(0) - path.mean(0))[live] / spread[live]).abs().max() < 5
    assert abs(values.mean() - others.mean()) < 4 * ((values.var() + others.var()) / 500) ** 0.5


class Bare:
    """The score function without a baseline."""

    samples, gradient = 4, "score"

    def __call__(self, draw, model, t):
        cost = draw.log_q[0].detach() - draw.log_px - draw.log_p[0]
        return (cost + cost.detach() * draw.log_q[0]).mean(0)


def test_the_baseline_calms_the_score_function():
    model, given = one_hot(2, 3), batch(2)
    with_baseline, _ = gradients(ScoreFunction(4), model, given, 200)
    without, _ = gradients(Bare(), model, given, 200)
    assert with_baseline.var(0).sum() < 0.5 * without.var(0).sum()

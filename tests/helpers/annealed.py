"""Linear-Gaussian models on the way between prior and posterior, where everything is Gaussian."""

import torch
from test_exact import model_of
from torch.distributions import MultivariateNormal

from unveil.data import Batch, Split
from unveil.data.reading import Plain
from unveil.distributions import DiagonalGaussian
from unveil.evaluation.likelihood import moves
from unveil.part import Part


class Off(Part):
    """An encoder that misses p(z|x) by `shift` of its standard deviations everywhere, and is `width` times as wide."""

    def __init__(self, truth, shift, width):
        super().__init__()
        self.truth, self.shift, self.width = truth, shift, width

    def forward(self, given=None, context=None, leading=1):
        exact = self.truth.posterior(given)
        spread = exact.stddev.float()
        return DiagonalGaussian(exact.mean.float() + self.shift * spread, (self.width * spread).log())


def off_model(truth, shift=0.5, width=1.5):
    model = model_of(truth)
    model.posterior = Off(truth, shift, width)
    return model


def split_of(x):
    return Split("test", x, None, torch.arange(len(x)), Plain())


def repeated(truth, times, seed=0):
    """The same x many times: estimates of it differ by their noise alone."""
    x = truth.sample(1, seed).expand(times, -1)
    return Batch(x, torch.arange(times), times), truth.log_likelihood(x[:1])


def tempered(path, truth, x, beta, model=None):
    """f_beta of a path as a Gaussian, for one x (E,); from the prior, or from the posterior of `model`."""
    weight = truth.weight.double()
    eye = torch.eye(weight.shape[1], dtype=torch.float64)
    start = model.prior() if path.name == "p(z)" else model.posterior(x[None])
    loc, scale = (value.double().reshape(-1) for value in (start.mean, start.stddev))
    first, joint = torch.diag(scale**-2), eye + weight.T @ weight / truth.scale**2
    precision = (1 - beta) * first + beta * joint
    pull = (1 - beta) * first @ loc + beta * weight.T @ (x.double() - truth.bias.double()) / truth.scale**2
    return MultivariateNormal(torch.linalg.solve(precision, pull), precision_matrix=precision)


def judge_nothing(monkeypatch):
    """The planted mistake: every move is accepted."""
    monkeypatch.setattr(moves, "accepted", lambda gain: torch.ones_like(gain, dtype=torch.bool))

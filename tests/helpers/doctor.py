"""Runs whose truth is known, made without training: a linear-Gaussian model, and a model that made its own data."""

from dataclasses import replace

import torch
from torch import nn

from unveil.data import Dataset, LinearGaussian, Plain, Space, Split
from unveil.distributions import DiagonalGaussian
from unveil.models import VAE
from unveil.objectives import Distortion, Rate
from unveil.part import Part
from unveil.parts import Codebook, Standard, UniformCodes
from unveil.run import Run

NOISE = 0.5
AXES = torch.linalg.qr(torch.randn(8, 2, generator=torch.Generator().manual_seed(3))).Q
TRUTH = LinearGaussian(2 * AXES, torch.linspace(-1, 1, 8), NOISE)
"""With orthogonal axes, whose posterior has independent dimensions."""


E = 8
"""Entries of x."""


def filled(*values):
    """Parameters of all entries, one value for each kind."""
    return torch.cat([torch.full((E,), float(value)) for value in values])


def apart(parameters, low, high):
    """Two sets of parameters whose first entry is far apart."""
    return [torch.cat([torch.tensor([float(first)]), parameters[1:]]) for first in (low, high)]


class Given(Part):
    """A conditional that is a plain function of what it is given."""

    def __init__(self, function, measures=("real",), normalised=True):
        super().__init__()
        self.function, self.measures, self.normalised = function, measures, normalised

    def forward(self, given=None, context=None, leading=1):
        return self.function(given)


def posterior(x):
    """The exact one of TRUTH."""
    exact = TRUTH.posterior(x)
    return gaussian(exact.mean.float(), exact.variance[0].sqrt().float())


def likelihood(z, scale=NOISE):
    """The one of TRUTH, perhaps with another scale."""
    return gaussian(z @ TRUTH.weight.T + TRUTH.bias, scale)


def gaussian(mean, scale):
    return DiagonalGaussian(mean, torch.as_tensor(scale).log())


def linear_data(n=2_000):
    return TRUTH.dataset(n)


def linear_run(data=None, posterior=posterior, likelihood=likelihood, objective=None, prior=None, **manifest):
    """A run of the linear-Gaussian model with its parts as given, in memory."""
    model = VAE(prior or Standard(2), Given(posterior), Given(likelihood))
    return in_memory(model, data or linear_data(), objective, **manifest)


def in_memory(model, data, objective=None, path=None, **manifest):
    model.register_parameter("anything", nn.Parameter(torch.zeros(1)))
    return Run(model.eval(), objective or Distortion() + Rate(), {"data": {"classes": 0}, **manifest}, path, data)


def self_made(made_by, low, high, measure="real", n=1_500, codes=2, levels=256, columns=()):
    """A run whose data were drawn from its own likelihood, hence a right one; `likelihood.function` may be replaced.

    z is one of two codes, which the first entry of x gives away; the parameters are `low` for one and `high` for the other.
    """
    book = Codebook(codes, 1)
    book.table.copy_(torch.linspace(-1, 1, codes)[:, None])
    z = torch.randint(0, 2, (3 * n, 1, 1), generator=torch.Generator().manual_seed(1)).float() * 2 - 1
    likelihood = between(made_by, low, high)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        x = likelihood(z).sample()
    below, above = x[z[:, 0, 0] < 0, 0].max(), x[z[:, 0, 0] > 0, 0].min()
    assert below < above
    cut = (below + above) / 2
    parts = [
        Split(name, x[k * n : (k + 1) * n], None, torch.arange(k * n, (k + 1) * n), Plain(measure))
        for k, name in enumerate(("train", "validation", "test"))
    ]
    data = Dataset("made", Space((x.shape[1],), measure, levels, tuple(columns)), *parts)

    def chosen(x):
        return book.quantise((x[:, :1] > cut).float()[:, None] * 2 - 1)

    return in_memory(VAE(UniformCodes(book, 1), Given(chosen), Given(likelihood, (measure,))), data)


def between(head, low, high):
    """A likelihood with parameters `low` where z is -1, and `high` where it is 1."""
    return lambda z: head((1 - z[..., 0, :]) / 2 * low + (1 + z[..., 0, :]) / 2 * high)


def changed(data, split, values):
    """The data with other values in one split."""
    return replace(data, **{split: replace(data.split(split), values=values)})


def said(findings):
    """Severity and sentence of each finding."""
    return [(finding.severity, finding.what) for finding in findings]


def only(findings, severity, words):
    """The one finding, which is of that severity, has those words in it, and states its n."""
    assert len(findings) == 1, said(findings)
    (finding,) = findings
    assert finding.severity == severity
    assert words in finding.what
    assert "n = " in finding.evidence
    assert finding.change
    return finding

"""Likelihoods of real numbers, gray values, levels, counts and tables."""

import torch
from torch.distributions import Independent

from cases.basics import small
from cases.case import Case, Density
from unveil.data import from_arrays
from unveil.distributions import CountNegativeBinomial as Negative
from unveil.distributions import (
    CountPoisson,
    CutLogistic,
    LevelBetaBinomial,
    LevelCategorical,
    PositiveNormal,
    TiltedUniform,
    TypedColumns,
)
from unveil.networks import Mlp
from unveil.objectives import Distortion, Rate
from unveil.parts import (
    BetaBinomial,
    Columns,
    ContinuousBernoulli,
    DiscretisedLogistic,
    Family,
    Gaussian,
    Laplace,
    Levels,
    LogisticMixture,
    NegativeBinomial,
    Net,
    OptimalSigma,
    Poisson,
    StudentT,
)
from unveil.recipes import recipe

KINDS = ("real", "count", "ordinal:5", "positive", "categorical:3", "real", "ordinal:2")


def images(measure):
    """300 images of 6x5 bytes, of which few are black."""
    source = torch.Generator().manual_seed(0)
    bytes = torch.randint(0, 256, (300, 1, 6, 5), generator=source).to(torch.uint8)
    return lambda: from_arrays(bytes, name=f"tiny {measure}", measure=measure, levels=255)


def numbers(measure="real", columns=None):
    """300 rows, of real numbers, of counts, or of KINDS."""
    source = torch.Generator().manual_seed(0)
    rows = torch.randn(300, 7, generator=source)
    counts = (rows.abs() * 4).round()
    table = torch.stack([rows[:, 0], counts[:, 1], counts[:, 2] % 5, rows[:, 3].exp(), counts[:, 4] % 3], 1)
    table = torch.cat([table, rows[:, 5:6], counts[:, 6:] % 2], 1)
    values = {"real": rows, "count": counts.long()}.get(measure, table)
    return lambda: from_arrays(values, name=measure, measure=measure if measure != "columns" else None, columns=columns)


def gapped():
    """300 rows of KINDS, a fifth of whose entries are unknown."""
    table = numbers("columns", KINDS)().whole().values
    lost = torch.rand(table.shape, generator=torch.Generator().manual_seed(1)) < 0.2
    return from_arrays(table.masked_fill(lost, torch.nan), name="gapped", columns=KINDS)


def under(head):
    """The plain VAE with another likelihood."""

    def compose(data):
        made, shape = head(), data.space.shape
        net = Net(Mlp((3,), (8,), made.needs(shape)), made)
        net.start(data.train.mean())
        return small(posterior=Net(Mlp(shape, (8,), (6,)), Gaussian(3)), likelihood=net), Distortion() + Rate()

    return compose


CASES = [
    Case("continuous-bernoulli", under(ContinuousBernoulli), images("unit")),
    Case("discretised-logistic", under(DiscretisedLogistic), images("levels")),
    Case("logistic-mixture", under(lambda: LogisticMixture(3)), images("levels")),
    Case("levels", under(Levels), images("levels")),
    Case("beta-binomial", under(BetaBinomial), images("levels")),
    Case("laplace", under(Laplace), numbers()),
    Case("student", under(StudentT), numbers()),
    Case("family", under(lambda: Family("Laplace")), numbers()),
    Case("family-of-counts", under(lambda: Family("NegativeBinomial")), numbers("count")),
    Case("optimal-sigma", under(OptimalSigma), numbers()),
    Case("poisson", under(Poisson), numbers("count")),
    Case("negative-binomial", under(NegativeBinomial), numbers("count")),
    Case("columns", under(lambda: Columns(KINDS)), numbers("columns", KINDS)),
    Case("tabular", lambda data: recipe("vae").given(latent=3, hidden=(8,)).compose(data), gapped),
]


def vector(make, *parameters):
    """A distribution over vectors, of single variables."""
    return lambda: Independent(make(*map(torch.tensor, parameters)), 1, validate_args=False)


def cut(loc, log_scale):
    return CutLogistic(loc, log_scale, torch.tensor([0.0, 0.3, 1.5, 2.0]))


def beta_binomial(logits, log_total):
    return LevelBetaBinomial(logits, log_total, 17)


def table(shift):
    """Three columns of three kinds, in another order than their groups."""

    def make():
        groups = [
            PositiveNormal(torch.tensor([0.3 + shift]), torch.tensor([-0.2 - shift])),
            Negative(torch.tensor([1.0 - shift]), torch.tensor([0.5 + shift])),
            LevelCategorical(torch.tensor([[0.1, 0.5 + shift, -1.0]])),
        ]
        return TypedColumns(groups, torch.tensor([2, 0, 1]), [lambda group: group.mean] * 3)

    return make


DENSITIES = [
    Density("tilted", vector(TiltedUniform, [3.0, -0.3, -20.0]), vector(TiltedUniform, [2.5, 0.1, -22.0])),
    Density("cut-logistic", vector(cut, [0.5, -1.0], [0.0, 0.4]), vector(cut, [0.7, -0.8], [0.1, 0.3])),
    Density("poisson", vector(CountPoisson, [-1.0, 3.0]), vector(CountPoisson, [-1.2, 2.9])),
    Density("negative", vector(Negative, [1.0, 3.0], [-1.0, 2.0]), vector(Negative, [0.8, 2.9], [-0.8, 2.3])),
    Density("negative-sparse", vector(Negative, [1.0], [-4.0]), vector(Negative, [0.5], [-3.8])),
    Density(
        "level-categorical",
        vector(LevelCategorical, [[0.1, 2.0, -1.0], [0.0, 0.0, 1.0]]),
        vector(LevelCategorical, [[0.2, 1.5, -1.0], [0.3, 0.0, 1.2]]),
    ),
    Density(
        "beta-binomial", vector(beta_binomial, [0.5, -1.0], [1.0, -3.0]), vector(beta_binomial, [0.7, -1.2], [1.2, -2.8])
    ),
    Density("positive", vector(PositiveNormal, [0.5], [0.1]), vector(PositiveNormal, [0.6], [-0.1])),
    Density("typed-columns", table(0.0), table(0.1)),
]

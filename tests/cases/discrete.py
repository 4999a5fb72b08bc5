"""Latent variables that are counted."""

import torch

from cases.basics import E, named, small
from cases.case import Case, Density
from unveil.distributions import GumbelOneHot
from unveil.models import VAE
from unveil.networks import GridDecoder, GridEncoder, Mlp, Summed
from unveil.objectives import Commitment, Distortion, Iwae, Rate, ScoreFunction
from unveil.parts import (
    AutoregressiveCodes,
    Bernoulli,
    Codebook,
    Lattice,
    Net,
    OneHot,
    Quantised,
    ResidualCodebook,
    UniformCodes,
    UniformOneHot,
)


def one_hot(dimensions=3, classes=4):
    """The VAE with one-hot variables."""
    event = (dimensions, classes)
    return VAE(
        UniformOneHot(*event),
        Net(Mlp(E, (8,), (dimensions * classes,)), OneHot(*event, anneal=0.1)),
        Net(Mlp(event, (8,), E), Bernoulli(3)),
    )


def chosen(alphabet, prior=UniformCodes, positions=3):
    """The VAE with codes of an alphabet."""
    event = (positions, alphabet.dimensions)
    return VAE(
        prior(alphabet, positions),
        Net(Mlp(E, (8,), event), Quantised(alphabet, positions)),
        Net(Summed(Mlp(event, (8,), E), alphabet.depth), Bernoulli(3)),
    )


def book(codes=5):
    return Codebook(codes, 2)


def books():
    return ResidualCodebook([book(), book()])


def writer(alphabet, positions):
    """A prior that is not uniform."""
    prior = AutoregressiveCodes(alphabet, positions, width=8, layers=2, heads=2)
    with torch.no_grad():
        prior.last.weight.normal_(std=0.3)
    return prior


def grid(data):
    alphabet = book()
    model = VAE(
        UniformCodes(alphabet, 9),
        Net(GridEncoder(E, (4,), 2), Quantised(alphabet, 9)),
        Net(GridDecoder(2, (4,), E), Bernoulli(3)),
    )
    return model, Distortion() + Rate() + Commitment()


def vq(data):
    return chosen(book()), Distortion() + Rate() + Commitment()


def residual(data):
    return chosen(books(), writer), Distortion() + Rate() + Commitment()


def lattice(data):
    return chosen(Lattice((3, 2))), Distortion() + Rate()


CASES = [
    Case("gumbel", lambda data: (one_hot(), Distortion() + Rate())),
    Case("gumbel-weighted", lambda data: (one_hot(), Iwae(4))),
    Case("score", lambda data: (one_hot(), ScoreFunction(4))),
    Case("score-gaussian", lambda data: (small(), ScoreFunction(4))),
    Case("vq", vq),
    Case("vq-grid", grid),
    Case("residual-vq", residual),
    Case("lattice", lattice),
    Case("lattice-prior", lambda data: (chosen(Lattice((3, 2)), writer), Distortion() + Rate())),
    *(
        Case(f"{name}{'-conv' * conv}", named(name, network="conv" if conv else "mlp"))
        for name in ("gumbel-vae", "vq-vae", "residual-vq-vae", "fsq-vae")
        for conv in (False, True)
    ),
]


def seeded(make, seed=0):
    torch.manual_seed(seed)
    return make()


DENSITIES = [
    Density(
        "one-hot",
        lambda: GumbelOneHot(torch.tensor([[0.3, -0.5, 1.0], [2.0, 0.1, -0.2]])),
        lambda: GumbelOneHot(torch.tensor([[0.1, -0.2, 0.7], [1.5, 0.4, -0.1]])),
    ),
    *(
        Density(
            f"autoregressive-{name}",
            lambda make=make: seeded(lambda: writer(make(), 2)()),
            lambda make=make: seeded(lambda: UniformCodes(make(), 2)()),
        )
        for name, make in (("codes", book), ("residual", books), ("lattice", lambda: Lattice((3, 2))))
    ),
]

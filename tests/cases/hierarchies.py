"""Hierarchies, Hamiltonian posteriors and semi-supervised learning."""

from cases.basics import E, named, small
from cases.case import Case
from unveil.models import Group, Ladder
from unveil.networks import DenseBlock, DenseLadder, Mlp, ResidualDecoder, ResidualEncoder
from unveil.objectives import Distortion, Iwae, Rate
from unveil.parts import Bernoulli, Gaussian, Net, Standard


def dense(latent=3, width=8, groups=2, event=E, head=None):
    """A ladder of vectors whose first layer has `latent` dimensions, and whose others have two."""
    return Ladder(
        Standard(latent),
        DenseLadder(event, width, groups + 1),
        Net(Mlp((width,), (), (2 * latent,)), Gaussian(latent)),
        Mlp((latent,), (), (width,)),
        [
            Group(
                DenseBlock(width, width, 4, gain=0.5),
                DenseBlock(width, width, 4, context=width, gain=0.5),
                DenseBlock(width, width, width, context=2, gain=1.0),
            )
            for _ in range(groups)
        ],
        Net(Mlp((width,), (8,), event), head or Bernoulli(len(event))),
    )


def residual(data):
    posterior = Net(ResidualEncoder(E, (4, 4), (6,)), Gaussian(3))
    return small(None, posterior, Net(ResidualDecoder((3,), (4, 4), E), Bernoulli(3))), Distortion() + Rate()


CASES = [
    Case("ladder", lambda data: (dense(), Distortion() + Rate())),
    Case("ladder-one-layer", lambda data: (dense(groups=0), Distortion() + Rate())),
    Case("ladder-sticking", lambda data: (dense(), Distortion() + Rate("sticking"))),
    Case("ladder-iwae", lambda data: (dense(), Iwae(3))),
    Case("ladder-recipe", named("ladder", layers=3)),
    Case("nvae-small", named("nvae-small", groups=2)),
    Case("residual", residual),
    Case("hvae", named("hvae")),
    Case("rhvae", named("rhvae", centroids=5)),
    Case("m2", named("m2", known=50)),
    Case("m2-one-layer", named("m2", known=50, hidden=(8, 8))),
]

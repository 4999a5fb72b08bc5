"""Parts that look at the aggregate posterior, and adversarial ones."""

from cases.basics import E, named, of, small
from cases.case import Case
from unveil.networks import Mlp
from unveil.objectives import (
    AdversarialPrior,
    AdversarialSamples,
    Critic,
    DensityRatioCorrelation,
    DimensionRate,
    DipI,
    DipII,
    Distortion,
    FeatureDistortion,
    InverseMultiquadratic,
    MinibatchWeights,
    Mmd,
    MutualInformation,
    Rate,
    Rbf,
    TotalCorrelation,
)
from unveil.parts import Net, Point


def points(objective):
    """An autoencoder with an objective of its own."""
    return lambda data: (small(posterior=Net(Mlp(E, (8,), (3,)), Point(3))), objective())


def critic():
    return Mlp((3,), (8,), (1,), "silu")


def larsen():
    judge = Critic(Mlp(E, (8,), (5,)), 5)
    return FeatureDistortion(judge) + Rate() + 0.5 * AdversarialSamples(judge)


CASES = [
    Case("mutual-information", of(MutualInformation), couples=True),
    Case("total-correlation", of(TotalCorrelation), couples=True),
    Case("dimension-rate", of(lambda: DimensionRate(MinibatchWeights())), couples=True),
    Case("dip-1", of(DipI), couples=True),
    Case("dip-2", of(lambda: DipII(3.0, 2.0)), couples=True),
    Case("mmd", points(lambda: Mmd(Rbf())), couples=True),
    Case("mmd-heavy", of(lambda: Mmd(InverseMultiquadratic((0.5, 2.0)))), couples=True),
    Case("density-ratio", of(lambda: Distortion() + Rate() + 2 * DensityRatioCorrelation(critic()))),
    Case("adversarial-prior", points(lambda: Distortion() + AdversarialPrior(critic()))),
    Case("adversarial-samples", of(larsen)),
    Case("features", of(lambda: FeatureDistortion(Critic(Mlp(E, (8,), (5,)), 5)))),
    *[Case(name, named(name, critic=8)) for name in ("factor-vae", "aae")],
    Case("vae-gan", named("vae-gan", critic=(8, 5))),
]

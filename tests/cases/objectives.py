"""Bounds, schedules, constraints and regularised autoencoders."""

from cases.basics import E, named, of, small
from cases.case import Case
from unveil.networks import Mlp
from unveil.objectives import (
    Capacity,
    Ciwae,
    DecoderNorm,
    Distortion,
    FreeBits,
    Geco,
    GradientPenalty,
    Miwae,
    Norm,
    Piwae,
    Rate,
    Renyi,
    StructuralSimilarity,
    Warmup,
)
from unveil.parts import Net, Point


def pointed(objective):
    """The autoencoder with an objective of its own."""
    return lambda data: (small(posterior=Net(Mlp(E, (8,), (3,)), Point(3))), objective())


CASES = [
    *(
        Case(f"objectives-{kind.__name__.lower()}-{gradient}", of(lambda k=kind, a=arguments, g=gradient: k(*a, g)))
        for kind, arguments in ((Miwae, (2, 3)), (Piwae, (2, 3)), (Ciwae, (4, 0.3)), (Renyi, (4, 0.5)), (Renyi, (4, 1.0)))
        for gradient in ("pathwise", "dreg")
    ),
    Case("objectives-capacity", of(lambda: Capacity(Rate(), 2.0, 5.0, 10.0)), couples=True),
    Case("objectives-free-bits", of(lambda: FreeBits(0.001)), couples=True),
    Case("objectives-cyclical", of(lambda: Distortion() + Warmup(Rate(), 2.0, 4.0))),
    Case("objectives-geco", of(lambda: Geco(Rate(), 15.0))),
    Case("objectives-ssim", of(lambda: 30 * StructuralSimilarity() + Rate())),
    Case("objectives-norm", pointed(lambda: Distortion() + Norm())),
    Case("objectives-gradient-penalty", pointed(lambda: Distortion() + Norm() + GradientPenalty())),
    Case("objectives-gradient-penalty-of-a-vae", of(lambda: Distortion() + Rate() + GradientPenalty())),
    Case("objectives-decoder-norm", pointed(lambda: Distortion() + 0.01 * DecoderNorm())),
    *(
        Case(f"objectives-recipe-{name}", named(name))
        for name in ("miwae", "piwae", "ciwae", "renyi-vae", "geco-vae", "ae", "rae-l2", "rae-gp", "ms-ssim-vae")
    ),
    Case("objectives-recipe-capacity", named("disentangled-beta-vae"), couples=True),
    Case("objectives-recipe-free-bits", named("free-bits-vae", floor=0.001), couples=True),
    Case("objectives-geco-of-a-coupled-term", of(lambda: Geco(FreeBits(0.001), 15.0)), couples=True),
    Case("objectives-recipe-rae-gp-conv", named("rae-gp", network="conv")),
]

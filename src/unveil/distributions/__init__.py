"""Only what torch.distributions lacks, or does in many passes where one or two are enough."""

from unveil.distributions.bernoulli import IndependentBernoulli
from unveil.distributions.delta import Delta
from unveil.distributions.gaussian import DiagonalGaussian

__all__ = ["Delta", "DiagonalGaussian", "IndependentBernoulli"]

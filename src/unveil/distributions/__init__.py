"""Only what torch.distributions lacks."""

from unveil.distributions.bernoulli import IndependentBernoulli

__all__ = ["IndependentBernoulli"]

"""Conditional distributions: priors, posteriors and likelihoods, and the heads they are made of."""

from unveil.parts.heads import Bernoulli, CrossEntropy, Gaussian, Head, Isotropic, bounded, likelihood_for
from unveil.parts.net import Net
from unveil.parts.priors import Conditioned, Standard

__all__ = [
    "Bernoulli",
    "Conditioned",
    "CrossEntropy",
    "Gaussian",
    "Head",
    "Isotropic",
    "Net",
    "Standard",
    "bounded",
    "likelihood_for",
]

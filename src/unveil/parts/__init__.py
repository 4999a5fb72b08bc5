"""Conditional distributions: priors, posteriors and likelihoods, and the heads they are made of."""

from unveil.parts.autoregressive import AutoregressiveCodes, CausalBlock
from unveil.parts.categorical import OneHot, UniformOneHot
from unveil.parts.codebook import Codebook, Quantised, ResidualCodebook, UniformCodes
from unveil.parts.columns import LIKELIHOODS, Columns, likelihood_for
from unveil.parts.families import Constant, Family, conditional
from unveil.parts.flow_prior import Autoregressive, Coupling, Spline
from unveil.parts.flows import Flowed, FlowLayer, InverseAutoregressive, Planar, Radial
from unveil.parts.hamiltonian import CentroidMomentum, EuclideanMomentum, HamiltonianPosterior, Riemannian
from unveil.parts.heads import Bernoulli, CrossEntropy, Gaussian, Head, Isotropic, bounded
from unveil.parts.hyperbolic import LogMap, PoincareNormal, WrappedNormal
from unveil.parts.integers import BetaBinomial, DiscretisedLogistic, Levels, LogisticMixture, NegativeBinomial, Poisson
from unveil.parts.lattice import Lattice
from unveil.parts.likelihoods import ContinuousBernoulli, Laplace, OptimalSigma, StudentT
from unveil.parts.mixtures import Exemplar, MixtureOfGaussians, Vamp
from unveil.parts.net import Net
from unveil.parts.point import Point
from unveil.parts.posteriors import Full, LowRank
from unveil.parts.priors import Conditioned, Standard
from unveil.parts.sphere import UniformSphere, VonMisesFisher
from unveil.parts.tabular import Tabular
from unveil.parts.two_stage import TwoStage

__all__ = [
    "LIKELIHOODS",
    "Autoregressive",
    "AutoregressiveCodes",
    "Bernoulli",
    "BetaBinomial",
    "CausalBlock",
    "CentroidMomentum",
    "Codebook",
    "Columns",
    "Conditioned",
    "Constant",
    "ContinuousBernoulli",
    "Coupling",
    "CrossEntropy",
    "DiscretisedLogistic",
    "EuclideanMomentum",
    "Exemplar",
    "Family",
    "FlowLayer",
    "Flowed",
    "Full",
    "Gaussian",
    "HamiltonianPosterior",
    "Head",
    "InverseAutoregressive",
    "Isotropic",
    "Laplace",
    "Lattice",
    "Levels",
    "LogMap",
    "LogisticMixture",
    "LowRank",
    "MixtureOfGaussians",
    "NegativeBinomial",
    "Net",
    "OneHot",
    "OptimalSigma",
    "Planar",
    "PoincareNormal",
    "Point",
    "Poisson",
    "Quantised",
    "Radial",
    "ResidualCodebook",
    "Riemannian",
    "Spline",
    "Standard",
    "StudentT",
    "Tabular",
    "TwoStage",
    "UniformCodes",
    "UniformOneHot",
    "UniformSphere",
    "Vamp",
    "VonMisesFisher",
    "WrappedNormal",
    "bounded",
    "conditional",
    "likelihood_for",
]

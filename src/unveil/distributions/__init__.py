"""Only what torch.distributions lacks, or does in many passes where one or two are enough."""

from unveil.distributions.bernoulli import IndependentBernoulli
from unveil.distributions.codes import Alphabet, ChosenCodes, CodeSequence
from unveil.distributions.columns import PositiveNormal, Rescaled, TypedColumns
from unveil.distributions.continuous_bernoulli import TiltedUniform
from unveil.distributions.counts import CountNegativeBinomial, CountPoisson
from unveil.distributions.delta import Delta
from unveil.distributions.flow import ForwardFlow, Invertible, InvertibleFlow
from unveil.distributions.full import CorrelatedGaussian, FullGaussian, LowRankGaussian
from unveil.distributions.gaussian import DiagonalGaussian
from unveil.distributions.gumbel import GumbelOneHot
from unveil.distributions.hamiltonian import Hamiltonian, Momentum, Refined
from unveil.distributions.hyperbolic import HyperbolicNormal
from unveil.distributions.levels import LevelBetaBinomial, LevelCategorical
from unveil.distributions.logistic import CutLogistic
from unveil.distributions.mixture import Mixture, drawn_from
from unveil.distributions.surface import Surface, surface_of
from unveil.distributions.tabulated import Tabulated, table
from unveil.distributions.von_mises_fisher import SphericalUniform, SphericalVonMisesFisher
from unveil.distributions.ways import Way, ways_of

__all__ = [
    "Alphabet",
    "ChosenCodes",
    "CodeSequence",
    "CorrelatedGaussian",
    "CountNegativeBinomial",
    "CountPoisson",
    "CutLogistic",
    "Delta",
    "DiagonalGaussian",
    "ForwardFlow",
    "FullGaussian",
    "GumbelOneHot",
    "Hamiltonian",
    "HyperbolicNormal",
    "IndependentBernoulli",
    "Invertible",
    "InvertibleFlow",
    "LevelBetaBinomial",
    "LevelCategorical",
    "LowRankGaussian",
    "Mixture",
    "Momentum",
    "PositiveNormal",
    "Refined",
    "Rescaled",
    "SphericalUniform",
    "SphericalVonMisesFisher",
    "Surface",
    "Tabulated",
    "TiltedUniform",
    "TypedColumns",
    "Way",
    "drawn_from",
    "surface_of",
    "table",
    "ways_of",
]

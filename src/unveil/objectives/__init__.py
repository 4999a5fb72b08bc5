"""Objectives read draws: terms that add and scale to a loss."""

from unveil.objectives.adversarial import (
    AdversarialPrior,
    AdversarialSamples,
    Critic,
    DensityRatioCorrelation,
    FeatureDistortion,
)
from unveil.objectives.bounds import Ciwae, Miwae, Piwae, Renyi
from unveil.objectives.classification import Classification
from unveil.objectives.commitment import Commitment
from unveil.objectives.constraint import FreeBits, Geco
from unveil.objectives.decomposition import (
    DimensionRate,
    Factorised,
    MinibatchWeights,
    MutualInformation,
    StratifiedWeights,
    TotalCorrelation,
)
from unveil.objectives.elbo import Distortion, Rate
from unveil.objectives.importance import Iwae
from unveil.objectives.mmd import InverseMultiquadratic, Mmd, Rbf
from unveil.objectives.moments import DipI, DipII
from unveil.objectives.prior import NegativeLogPrior
from unveil.objectives.regularised import DecoderNorm, GradientPenalty, Norm
from unveil.objectives.schedules import Capacity
from unveil.objectives.score import ScoreFunction
from unveil.objectives.similarity import StructuralSimilarity
from unveil.objectives.term import MODEL, Loss, Scaled, Sum, Term, Warmup

__all__ = [
    "MODEL",
    "AdversarialPrior",
    "AdversarialSamples",
    "Capacity",
    "Ciwae",
    "Classification",
    "Commitment",
    "Critic",
    "DecoderNorm",
    "DensityRatioCorrelation",
    "DimensionRate",
    "DipI",
    "DipII",
    "Distortion",
    "Factorised",
    "FeatureDistortion",
    "FreeBits",
    "Geco",
    "GradientPenalty",
    "InverseMultiquadratic",
    "Iwae",
    "Loss",
    "MinibatchWeights",
    "Miwae",
    "Mmd",
    "MutualInformation",
    "NegativeLogPrior",
    "Norm",
    "Piwae",
    "Rate",
    "Rbf",
    "Renyi",
    "Scaled",
    "ScoreFunction",
    "StratifiedWeights",
    "StructuralSimilarity",
    "Sum",
    "Term",
    "TotalCorrelation",
    "Warmup",
]

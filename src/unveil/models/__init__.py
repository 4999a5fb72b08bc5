"""Models make draws."""

from unveil.models.draw import Draw, Model
from unveil.models.group import Group
from unveil.models.ladder import Ladder
from unveil.models.latent import Detachable, Gradient, Refinable, Traced, check_comparable, divergence, latent
from unveil.models.semi import SemiSupervised
from unveil.models.vae import VAE

__all__ = [
    "VAE",
    "Detachable",
    "Draw",
    "Gradient",
    "Group",
    "Ladder",
    "Model",
    "Refinable",
    "SemiSupervised",
    "Traced",
    "check_comparable",
    "divergence",
    "latent",
]

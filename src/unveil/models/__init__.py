"""Models make draws."""

from unveil.models.draw import Draw, Model
from unveil.models.latent import Detachable, Gradient, Refinable, Traced, divergence, latent
from unveil.models.vae import VAE

__all__ = ["VAE", "Detachable", "Draw", "Gradient", "Model", "Refinable", "Traced", "divergence", "latent"]

"""Models make draws."""

from unveil.models.draw import Draw, Model, divergence
from unveil.models.vae import VAE

__all__ = ["VAE", "Draw", "Model", "divergence"]

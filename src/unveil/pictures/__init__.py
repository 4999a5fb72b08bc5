"""Pictures from arrays; nothing here knows a model."""

from unveil.pictures.charts import curves, latent_plane, manifold
from unveil.pictures.sheets import maps, on_paper, pairs, save_image, save_sheet, sheet
from unveil.pictures.style import PALETTE, save
from unveil.pictures.tables import Column, marginals

__all__ = [
    "PALETTE",
    "Column",
    "curves",
    "latent_plane",
    "manifold",
    "maps",
    "marginals",
    "on_paper",
    "pairs",
    "save",
    "save_image",
    "save_sheet",
    "sheet",
]

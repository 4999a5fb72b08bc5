"""Pictures from arrays; nothing here knows a model."""

from unveil.pictures.charts import curves, latent_plane, manifold
from unveil.pictures.sheets import enlarged, maps, on_paper, pairs, save_image, save_sheet, sheet
from unveil.pictures.style import PALETTE, drawn, save
from unveil.pictures.tables import Column, marginals

__all__ = [
    "PALETTE",
    "Column",
    "curves",
    "drawn",
    "enlarged",
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

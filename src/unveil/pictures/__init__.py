"""Pictures from arrays; nothing here knows a model."""

from unveil.pictures.charts import curves, latent_plane, manifold
from unveil.pictures.sheets import maps, on_paper, pairs, save_sheet, sheet
from unveil.pictures.style import PALETTE, save

__all__ = ["PALETTE", "curves", "latent_plane", "manifold", "maps", "on_paper", "pairs", "save", "save_sheet", "sheet"]

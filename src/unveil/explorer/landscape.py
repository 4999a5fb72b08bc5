"""What the latent plane looks like from above: which part of it is seen at first, and the contours of the prior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unveil.evaluation import in_evaluation
from unveil.generation import Plane
from unveil.models import Model
from unveil.randomness import reseed

SIDE = 96
"""Points of the grid along each side."""
DRAWS = 100_000
"""Of the prior, where its density on the plane is not known."""
SHARES = (0.25, 0.5, 0.75, 0.95)
"""Of the prior's mass, which its contours hold."""


@dataclass(frozen=True)
class Landscape:
    """A square of the plane.

    Attributes:
        box: left, bottom, right, top.
        contours: for each share of the prior's mass, lines (M, 2) around the densest region that holds it.
    """

    box: tuple[float, float, float, float]
    contours: dict[float, list[np.ndarray]]


def landscape(model: Model, plane: Plane, mean: Tensor, context: Tensor | None) -> Landscape:
    """Seen along the plane's axes: the prior's density is that of the two coordinates, all others summed over.

    Args:
        model: whose prior it is.
        plane: what is looked at.
        mean: (N, D) of the posteriors.
        context: (C,) what a conditional prior is given.
    """
    points = plane.coordinates(mean)
    reach = torch.cat([points, plane.prior[len(plane.prior) // 1000 :: len(plane.prior) // 500]]).abs().max()
    side = float(reach.clamp(min=1e-3)) * 1.08
    box = (-side, -side, side, side)
    grid = torch.linspace(-side, side, SIDE)
    return Landscape(box, _contours(_prior(model, plane, context, grid), grid.numpy()))


@torch.no_grad()
def _prior(model: Model, plane: Plane, context: Tensor | None, grid: Tensor) -> np.ndarray:
    """(SIDE, SIDE) its density on the plane, up to a factor: of draws, smoothed."""
    from scipy.ndimage import gaussian_filter

    with in_evaluation(model), torch.random.fork_rng(devices=[]):
        reseed(0, "landscape")
        given = None if context is None else context.expand(1, -1)
        z = model.prior(None, given).sample(torch.Size([DRAWS])).reshape(DRAWS, -1).cpu()
    x, y = plane.coordinates(z.float()).T.numpy()
    step = float(grid[1] - grid[0])
    edges = np.append(grid.numpy() - step / 2, grid[-1] + step / 2)
    counts, _, _ = np.histogram2d(y, x, bins=(edges, edges))
    smooth: np.ndarray = gaussian_filter(counts, 1.5)
    return smooth


def _contours(density: np.ndarray, grid: np.ndarray) -> dict[float, list[np.ndarray]]:
    from contourpy import contour_generator

    if not density.sum():
        return {}
    ordered = np.sort(density.ravel())[::-1]
    held = np.cumsum(ordered) / ordered.sum()
    lines = contour_generator(grid, grid, density)
    return {share: [*map(np.asarray, lines.lines(ordered[np.searchsorted(held, share)]))] for share in SHARES}

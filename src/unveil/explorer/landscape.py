"""What the latent plane looks like from above: which part of it is seen at first, and how dense the prior is there.

The contours of that density the page finds for itself, as it does for other directions than these.
"""

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
SEEN = 0.995
"""Share of the data that is seen at first."""
DRAWS, PIECE = 400_000, 50_000
"""Draws of the prior, where its density on the plane is not known, and how many at a time."""


@dataclass(frozen=True)
class Landscape:
    """A square of the plane.

    Attributes:
        box: left, bottom, right, top.
        density: (SIDE, SIDE) of the prior, up to a factor: at evenly spaced points from edge to edge, rows from the bottom;
            None of codes, which have none: between two of them there is nothing.
    """

    box: tuple[float, float, float, float]
    density: np.ndarray | None


def landscape(model: Model, plane: Plane, mean: Tensor, context: Tensor | None) -> Landscape:
    """Seen along the plane's axes: the prior's density is that of the two coordinates, all others summed over.

    Args:
        model: whose prior it is.
        plane: what is looked at.
        mean: (N, D) of the posteriors.
        context: (C,) what a conditional prior is given.
    """
    prior = plane.prior[len(plane.prior) // 500], plane.prior[-1 - len(plane.prior) // 500]
    points = plane.coordinates(mean).abs().amax(1).quantile(SEEN)
    side = 1.08 * float(torch.stack([*prior]).abs().max().maximum(points).clamp(min=1e-3))
    box = (-side, -side, side, side)
    grid = torch.linspace(-side, side, SIDE)
    return Landscape(box, _prior(model, plane, context, grid) if plane.ways else None)


@torch.no_grad()
def _prior(model: Model, plane: Plane, context: Tensor | None, grid: Tensor) -> np.ndarray:
    """(SIDE, SIDE) its density on the plane, rows from the bottom, up to a factor: exact where z has 1 or 2 dimensions."""
    device = next(model.parameters()).device
    with in_evaluation(model), torch.random.fork_rng(devices=[]):
        reseed(0, "landscape", device=device)
        prior = model.prior(None, None if context is None else context.to(device).expand(1, -1))
        if not plane.principal and plane.surface is None and len(prior.event_shape) == 1:
            points = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), -1).reshape(-1, 2)
            z = (points @ plane.axes).to(device)  # a line is a plane on which nothing changes from below to above
            return prior.log_prob(z).exp().reshape(SIDE, SIDE).double().cpu().numpy()
        z = torch.cat([prior.sample(torch.Size([PIECE])).reshape(PIECE, -1).cpu() for _ in range(DRAWS // PIECE)])
    return _counted(plane.coordinates(z.float()), grid)


def _counted(points: Tensor, grid: Tensor) -> np.ndarray:
    """(SIDE, SIDE) how many of the points (N, 2) lie at each place of the grid, smoothed."""
    from scipy.ndimage import gaussian_filter

    x, y = points.T.numpy()
    step = float(grid[1] - grid[0])
    edges = np.append(grid.numpy() - step / 2, grid[-1] + step / 2)
    counts, _, _ = np.histogram2d(y, x, bins=(edges, edges))
    smooth: np.ndarray = gaussian_filter(counts, 2.5)
    return smooth

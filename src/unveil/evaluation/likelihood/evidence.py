"""log p(x) of each image, the integral over z itself, where z has one to three dimensions.

All images share the decoded points. The box that these fill is where the prior's draws and the images' posteriors are, and
is made wider for images that turn out to need it; the encoder is asked for nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.data import Batch, Split
from unveil.distributions import table
from unveil.errors import SettingError
from unveil.evaluation.bound import in_evaluation
from unveil.evaluation.flat import flat_prior
from unveil.evaluation.likelihood.grid import FIRST, TILE, Grid, Images
from unveil.evaluation.likelihood.integral import integrate
from unveil.models import VAE, Model
from unveil.randomness import reseed
from unveil.words import counted

POINTS = 2**24
"""Of the finest grid, at most: 4096 along each of two dimensions, 256 along each of three."""
TOLERANCE = 1e-3
"""Nats: a tenth of the last digit that figures are printed to."""
CONTEXTS = 100
"""A grid is decoded for each distinct context; more than this many are refused."""
ROUNDING, PARTS = 2.0**-20, 10.0
"""Of log p(x), what float32 may put it wrong by at least: eight times its last digit, and it never counts as less than some
nats. Where a table sums larger parts that cancel it is off by more, which is measured."""
MEASURED, TIMES = 200, 4.0
"""Images whose entry in a table is set against their log-density itself, and how many root mean squares of the
difference are stated as the error."""
DRAWS = 10_000
"""Of z from the prior, for the box."""
REACH = 5.0
"""Standard deviations of the prior, and of each posterior, that lie within the box and outside its shell."""
CHUNK = 500
"""Images encoded at a time."""
NUMBERS = 2**25
"""Most numbers of x that are held at a time, 128 MB."""


@dataclass(frozen=True)
class Evidence:
    """log p(x) of each image of a split, and how it was found.

    Attributes:
        log_p: (N,) nats, float64 on the CPU.
        error: (N,) nats: by the spacing of the points, by the box that they fill, and by the rounding of float32.
        rounding: (N,) nats, the last of these by itself.
        grid: the finest that any image needed.
        visited: at how many points an image was looked at, the mean over images, of all grids together.
        contexts: distinct ones, for each of which grids were decoded; 1 for an unconditional model.
        limit: points that the finest grid was allowed.
        tolerance: nats that the error of each image was to stay below.
        seed: of binarisation and of the draws that the box was chosen by.
        seconds: how long it took.
    """

    log_p: Tensor
    error: Tensor
    rounding: Tensor
    grid: Grid
    visited: float
    contexts: int
    limit: int
    tolerance: float
    seed: int
    seconds: float


@torch.no_grad()
def evidence(model: Model, split: Split, *, seed: int = 0, points: int = POINTS, tolerance: float = TOLERANCE) -> Evidence:
    """log p(x) of every image of a split, by quadrature over z.

    No value is an estimate by chance, and none a bound: each lies within its own `error` of log p(x), as far as sums over
    coarser grids can tell. An image is refined until its error by the spacing is below half the tolerance.

    Args:
        model: with one layer of z, real vectors of one to three dimensions; its posterior may be a point.
        split: the images, each in the reading of `split.fixed(seed)`.
        seed: of everything random.
        points: of the finest grid, at most.
        tolerance: nats, positive.

    Raises:
        SettingError: z that is no such vector, a likelihood that is none, too few points for the first grid, more than 100
            distinct contexts, or a density that is not finite.
    """
    start = perf_counter()
    log_p, error, rounding = torch.full((3, len(split)), torch.nan, dtype=torch.float64)
    grids, visited, contexts = [], 0, 0
    device = next(iter(model.parameters())).device
    with in_evaluation(model):
        for rows, context in _by_context(split):
            given = None if context is None else context.to(device)
            flat, prior = _checked(model, given, points, tolerance)
            contexts += 1
            for part in rows.split(max(1, NUMBERS // split.values[0].numel())):
                images = Images(flat, prior, given, split.subset(part).fixed(seed).to(device))
                reseed(seed, "quadrature", device=device)
                grid, known = _begin(images)
                least = TIMES * _cancelled(images)
                # the other half of the tolerance is for the box and for rounding
                found = integrate(images, grid, known, points, tolerance / 2)
                log_p[part], rounding[part] = found.log_p, (ROUNDING * found.log_p.abs().clamp(min=PARTS)).clamp(min=least)
                error[part] = found.error + rounding[part]
                grids.append(found.grid)
                visited += found.visited
    _check_finite(log_p)
    finest = max(grids, key=lambda grid: (grid.points, -grid.log_cell))
    seconds = perf_counter() - start
    return Evidence(log_p, error, rounding, finest, visited / len(split), contexts, points, tolerance, seed, seconds)


def _checked(model: Model, context: Tensor | None, points: int, tolerance: float) -> tuple[VAE, Distribution]:
    """The model and its p(z) given `context` (1, C), if there is an integral that can be taken."""
    flat, prior = flat_prior(model, "quadrature", context)
    dims = prior.event_shape[0]
    if not model.normalised:
        raise SettingError(
            "quadrature gives log p(x), and p(x|z) here is no likelihood of x; take Bernoulli() on binary data"
        )
    if dims not in TILE:
        raise SettingError(f"quadrature needs z of 1 to 3 dimensions, and z here has {dims}; take importance weighting")
    least = (2 * FIRST * TILE[dims]) ** dims  # the first grid has none before it to compare with
    if points < least or not tolerance > 0:
        raise SettingError(
            f"quadrature over {counted(dims, 'dimension')} cannot have {counted(points, 'point')} and a tolerance of "
            f"{tolerance}; "
            f"give at least {least} points and a positive tolerance"
        )
    return flat, prior


def _check_finite(log_p: Tensor) -> None:
    wrong = int((~log_p.isfinite()).sum())
    if wrong:
        raise SettingError(
            f"log p(x) of {wrong} of {len(log_p)} examples is not finite; see that the weights are, and that x lies in the "
            "space that the likelihood is for"
        )


def _by_context(split: Split) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Positions of the images that share a context, and that context (1, C)."""
    if split.context is None:
        yield torch.arange(len(split)), None
        return
    distinct, which = split.context.unique(dim=0, return_inverse=True)
    if len(distinct) > CONTEXTS:
        raise SettingError(
            f"quadrature decodes a grid for each distinct context, and {len(distinct)} are more than {CONTEXTS}; "
            "take fewer examples, or importance weighting"
        )
    for place in range(len(distinct)):
        yield (which == place).nonzero().squeeze(1), distinct[place : place + 1]


def _cancelled(images: Images) -> float:
    """Root mean square of what a table is off by where posteriors are, in nats: it may sum large parts that cancel."""
    some = images.subset(torch.arange(min(MEASURED, len(images.x))))
    context = None if images.context is None else images.context.expand(len(some.x), -1)
    output = images.model.decode(images.model.encode(some.x, context).mean, context)
    exact = output.log_prob(some.x).cpu().double()
    off = table(output, some.x).diagonal().cpu().double() - exact
    return float(off[exact.isfinite()].square().mean().sqrt().nan_to_num(0.0))


def _begin(images: Images) -> tuple[Grid, Tensor]:
    """The first grid, and log p(x, z) (N,) of each image at the mean of its posterior."""
    means, scales, known = [], [], []
    for x in images.x.split(CHUNK):
        nowhere = torch.full((len(x),), -1, device=x.device)
        context = None if images.context is None else images.context.expand(len(x), -1)
        posterior = images.model.encode(x, context)
        batch = Batch(x, nowhere, len(x), context=context)
        means.append(posterior.mean.cpu().double())
        scales.append(posterior.stddev.cpu().double())
        known.append(images.model.log_joint(batch, posterior.mean.unsqueeze(0))[0].cpu().double())
    draws = images.prior.sample(torch.Size([DRAWS])).reshape(DRAWS, -1).cpu().double()
    centre, wide = draws.mean(0), draws.std(0)
    # a posterior is narrower than the prior, whatever an encoder says
    mean, reach = torch.cat(means), REACH * torch.cat(scales).minimum(wide)
    low = torch.stack([draws.amin(0), centre - REACH * wide, (mean - reach).amin(0)]).amin(0)
    high = torch.stack([draws.amax(0), centre + REACH * wide, (mean + reach).amax(0)]).amax(0)
    # an eighth of the box on each side is its shell
    margin = (high - low) / 6
    return Grid.first(low - margin, high + margin), torch.cat(known)

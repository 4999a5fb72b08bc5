"""What a trained model can be asked for: encodings, reconstructions, and decoded points of a latent plane.

All of it is deterministic but for what takes a seed: `encode` gives the posterior's mean and scale, not a draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from unveil.data import Batch, Split
from unveil.distributions import Surface, TypedColumns, Way, surface_of, ways_of
from unveil.errors import SettingError
from unveil.evaluation import encoded, in_evaluation
from unveil.evaluation.likelihood.drawing import blocks, chunks
from unveil.models import Model
from unveil.randomness import generator, reseed

CHUNK = 500
"""Examples encoded or decoded at a time."""


@dataclass(frozen=True)
class Encoded:
    """Posteriors of a split.

    Attributes:
        mean: (N, D) posterior means.
        scale: (N, D) posterior standard deviations.
        label: (N,) int64 labels or None.
        index: (N,) int64 row of each example in its source.
    """

    mean: Tensor
    scale: Tensor
    label: Tensor | None
    index: Tensor


def encode(model: Model, split: Split) -> Encoded:
    """q(z|x) of every example, without noise: a random reading gives way to its mean, the gray image.

    Example:
        >>> import unveil
        >>> from unveil import generation
        >>> run = unveil.train("digits", latent=3, epochs=1, out="runs/encoded")
        >>> generation.encode(run.model, run.data.test).mean.shape
        torch.Size([180, 3])
    """
    return Encoded(*encoded(model, split), split.labels, split.rows)


@torch.no_grad()
def latent_shape(model: Model, shape: Sequence[int], context: Tensor | None = None) -> tuple[int, ...]:
    """The shape of one z, of the first layer where there are several.

    Args:
        model: what encodes x.
        shape: of one x.
        context: (N, C) of which the first row is given, where the model is conditioned on one.
    """
    device = next(model.parameters()).device
    given = None if context is None else context[:1].to(device)
    with in_evaluation(model):
        return tuple(model.encode(torch.zeros(1, *shape, device=device), given).event_shape)


@torch.no_grad()
def decode(model: Model, z: Tensor, context: Tensor | None = None) -> Tensor:
    """(N, *event) E[x|z] for z (N, *latent), given `context` (N, C) where the model is conditioned on one.

    Example:
        >>> import torch, unveil
        >>> from unveil import generation
        >>> generation.decode(unveil.pretrained("mnist-2d").model, torch.zeros(1, 2)).shape
        torch.Size([1, 1, 28, 28])
    """
    device = next(model.parameters()).device
    given = [None] * len(z) if context is None else context.to(device).split(CHUNK)
    with in_evaluation(model):
        parts = zip(z.split(CHUNK), given, strict=False)
        return torch.cat([model.decode(part.to(device), beside).mean.cpu() for part, beside in parts])


def reconstruct(model: Model, split: Split) -> Tensor:
    """(N, *event) E[x|z] at the posterior mean of every example.

    Example:
        >>> import unveil
        >>> from unveil import generation
        >>> run = unveil.train("digits", epochs=1, out="runs/reconstructed")
        >>> generation.reconstruct(run.model, run.data.test).shape
        torch.Size([180, 1, 8, 8])
    """
    return decode(model, encode(model, split).mean, split.context)


@torch.no_grad()
def interpolate(model: Model, a: Tensor, b: Tensor, steps: int, context: Tensor | None = None) -> Tensor:
    """(steps, *latent) z on the way from `a` to `b` (*latent) that the prior asks for, both ends among them.

    That is the great circle where the prior has its mass on a sphere or a shell, as a standard normal of more than two
    dimensions has, the geodesic of a hyperbolic space, and the straight line otherwise.

    Args:
        model: whose prior it is.
        a: one z, such as a row of `encode(model, split).mean`.
        b: another.
        steps: points, at least 2.
        context: (C,) what a conditional prior is given.

    Raises:
        SettingError: fewer points, or there is nothing between two z, as between codes.

    Example:
        >>> import torch, unveil
        >>> from unveil import generation
        >>> model = unveil.pretrained("mnist-2d").model
        >>> generation.interpolate(model, torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.0]), steps=3)
        tensor([[-1.,  0.],
                [ 0.,  0.],
                [ 1.,  0.]])
    """
    if steps < 2:
        raise SettingError(f"{steps} points make no way from one z to another; ask for at least 2")
    device = next(model.parameters()).device
    with in_evaluation(model):
        ways = ways_of(model.prior(None, None if context is None else context.to(device).expand(1, -1)))
    if not ways:
        raise SettingError("z of this model are codes, and there is nothing between two codes; decode each by itself")
    start, end = a.flatten().float(), b.flatten().float()
    return ways[0].between(start, end, torch.linspace(0, 1, steps).unsqueeze(1)).unflatten(1, a.shape)


@dataclass(frozen=True)
class Imputed:
    """A split whose gaps are filled.

    Attributes:
        x: (N, D) with E[x|what is known of the row] where nothing was known; of categorical columns the likeliest class.
        ess: (N,) the effective number of draws that this is a mean over.
    """

    x: Tensor
    ess: Tensor


@torch.no_grad()
def impute(model: Model, split: Split, samples: int = 1_000, seed: int = 0) -> Imputed:
    r"""The gaps of a table, filled by what its model expects there.

    .. math:: E[x_m | x_o] \approx \sum_k \tilde w_k E[x_m | z_k],
        \quad \tilde w_k \propto \frac{p(z_k) p(x_o | z_k)}{q(z_k | x_o)}

    with draws z_k ~ q(z|x_o) and weights that sum to 1. Self-normalised: consistent, with a bias of order 1 / K.

    Args:
        model: of a table.
        split: rows, with gaps or without.
        samples: K, draws of z for each row.
        seed: of the draws.

    Raises:
        SettingError: no table, no samples, or a posterior without weights.

    Source: Mattei & Frellsen 2019, MIWAE, arXiv:1812.02633, equation 13.
    """
    if "columns" not in model.measures:
        raise SettingError("gaps are filled in tables alone; take a model of typed columns")
    if samples < 1:
        raise SettingError(f"{samples} draws cannot fill a gap; ask for at least 1")
    rows = split.values[:].isnan().any(1).nonzero().flatten()
    if not len(rows):
        return Imputed(split.values[:].float(), torch.full((len(split),), float(samples)))
    x, ess = split.values[:].float().clone(), torch.full((len(split),), float(samples))
    device, done = next(model.parameters()).device, 0
    with in_evaluation(model), torch.random.fork_rng(range(torch.cuda.device_count()) if device.type == "cuda" else []):
        for place, batch in blocks(split.subset(rows), samples, seed, device):
            expected, effective = _expected(model, batch, samples, (seed, "impute", place))
            here = rows[done : done + len(expected)]
            x[here] = torch.where(x[here].isnan(), expected, x[here])
            ess[here] = effective
            done += len(expected)
    return Imputed(x, ess)


def _expected(model: Model, batch: Batch, samples: int, purpose: tuple[int | str, ...]) -> tuple[Tensor, Tensor]:
    """(B, D) what is expected of every entry, and (B,) the effective number of draws."""
    weights, means, chances = [], [], []
    for count, draw in chunks(model, batch, samples, *purpose):
        if not (draw.rated and isinstance(draw.output, TypedColumns)):
            raise SettingError("the draws of this model have no weights to fill gaps by; its q(z|x) needs a density")
        weights.append((draw.log_w + draw.log_mass + log(count)).double())
        means.append(draw.output.mean)
        chances.append(draw.output.chances())
    log_w = torch.cat(weights)
    share = log_w.softmax(0)
    expected = torch.einsum("kb,kbd->bd", share.float(), torch.cat(means))
    for column in chances[0]:
        whole = torch.cat([one[column] for one in chances])
        expected[:, column] = torch.einsum("kb,kbc->bc", share.float(), whole).argmax(-1).float()
    return expected.cpu(), share.square().sum(0).reciprocal().float().cpu()


@dataclass(frozen=True)
class Plane:
    """A plane through the latent space.

    Attributes:
        origin: (D,).
        axes: (2, D) orthonormal.
        principal: whether the axes are principal directions of the posterior means, rather than z's own two.
        explained: share of the posterior means' variance in each direction.
        prior: (M, 2) sorted coordinates of draws from the prior, each column by itself: its quantiles.
        surface: the curved space that z lies in, if it does.
        ways: between two of its z, the one that the prior asks for first; none where there is nothing between two of them.
    """

    origin: Tensor
    axes: Tensor
    principal: bool
    explained: tuple[float, float]
    prior: Tensor
    surface: Surface | None = None
    ways: tuple[Way, ...] = ()

    def coordinates(self, z: Tensor) -> Tensor:
        """(N, 2) where z (N, D) falls on the plane."""
        return (z - self.origin) @ self.axes.T

    def grid(self, size: int) -> Tensor:
        """(size * size, D) points at the prior's quantiles, row by row from the top left.

        Quantiles spread the points as the prior does, so each picture stands for the same probability.
        """
        levels = (torch.arange(size) + 0.5) / size
        across, up = (self.prior[(levels * len(self.prior)).long(), axis] for axis in (0, 1))
        rows, columns = torch.meshgrid(up.flip(0), across, indexing="ij")
        points = self.origin + torch.stack([columns.flatten(), rows.flatten()], 1) @ self.axes
        return points if self.surface is None else self.surface.project(points)


@torch.no_grad()
def plane(model: Model, means: Tensor, context: Tensor | None = None, draws: int = 20_000) -> Plane:
    """The latent plane itself where z has two dimensions, else that of the two principal directions of `means` (N, D).

    The other directions are held at the mean. A latent line is embedded in a plane whose second coordinate is zero. A
    prior that is conditioned is taken given `context` (C,).

    Example:
        >>> import torch, unveil
        >>> from unveil import generation
        >>> plane = generation.plane(unveil.pretrained("mnist-2d").model, torch.zeros(5, 2))
        >>> plane.grid(3).shape  # a plane of nine points at the prior's quantiles
        torch.Size([9, 2])
    """
    size = means.shape[1]
    origin, spread = means.mean(0), means.var(0, correction=0).sum().clamp(min=1e-12)
    if size <= 2:
        axes, origin = torch.eye(2, size), torch.zeros(size)
    else:
        axes = torch.linalg.svd(means - origin, full_matrices=False).Vh[:2]
        # a singular vector's sign is arbitrary: let its largest entry be positive
        axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
        axes = torch.cat([axes, torch.zeros(2 - len(axes), size)])  # a single example spans no plane
    explained = ((means - origin) @ axes.T).var(0, correction=0) / spread
    with in_evaluation(model):
        device = next(model.parameters()).device
        reseed(0, "plane", device=device)
        given = None if context is None else context.to(device).expand(1, -1)
        distribution = model.prior(None, given)
        prior = distribution.sample(torch.Size([draws])).reshape(draws, -1).cpu()
    quantiles = ((prior - origin) @ axes.T).sort(0).values
    shares = (float(explained[0]), float(explained[1]))
    return Plane(origin, axes, size > 2, shares, quantiles, surface_of(distribution), ways_of(distribution))


def pick(split: Split, n: int, seed: int = 0) -> Split:
    """`n` rows to show, a few of each label where there are labels, as a function of `seed`."""
    order = torch.randperm(len(split), generator=generator(seed, "pick", split.name))
    if split.labels is None:
        return split.subset(order[:n])
    labels = split.labels[order]
    kinds = labels.unique().tolist()
    each = -(-n // len(kinds))
    return split.subset(torch.cat([order[labels == kind][:each] for kind in kinds])[:n])

"""Likeness of images as the eye sees it: structure at several scales, instead of pixels one by one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unveil.errors import SettingError
from unveil.models import Draw, Model
from unveil.objectives.term import Term

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""How much each scale counts, the finest first, as found by Wang et al. with people who compared images."""
C1, C2 = 0.01**2, 0.03**2
"""What keeps the ratios steady where images are dark or flat; for values between 0 and 1."""
SIGMA = 1.5
"""Pixels: the standard deviation of the Gaussian window."""
LEAST = 1e-4
"""A scale whose structures contradict each other counts as this: a power of something negative is no number."""


class StructuralSimilarity(Term):
    r"""One minus the multi-scale structural similarity of x and E[x|z].

    .. math:: 1 - l_M^{w_M} \prod_{j=1}^M c_j^{w_j}, \quad
        l = \frac{2 \mu_x \mu_y + C_1}{\mu_x^2 + \mu_y^2 + C_1}, \quad
        c = \frac{2 \sigma_{xy} + C_2}{\sigma_x^2 + \sigma_y^2 + C_2}

    Moments are those under a Gaussian window, l and c are means over its places, and each scale has half the pixels of the
    one before. Of the five scales and their weights, which then sum to 1, those are taken that the window fits into, and
    the window is made smaller for images that are smaller still. The mean over channels.

    It stands in the distortion's place and is no likelihood: nothing made from it is a bound on log p(x). The pathwise
    gradient is unbiased for the expectation over q.

    Args:
        window: pixels along a side of the window, odd.

    Returns:
        A number between 0, for images that are the same, and 1, for each example, (B,).

    Raises:
        SettingError: an even window, or x that is no image.

    Source: Wang, Simoncelli & Bovik 2003, Multi-Scale Structural Similarity for Image Quality Assessment.
    """

    def __init__(self, window: int = 11) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise SettingError(f"a window of {window} pixels has no middle; give a positive odd number")
        self.window = window

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        x = draw.batch.x
        if x.dim() != 4:
            raise SettingError(f"one x of shape {tuple(x.shape[1:])} is no image to compare; use Distortion()")
        # sums of squares less the square of a sum: autocast would leave no digit of the difference
        with torch.autocast(x.device.type, enabled=False):
            mean = draw.output.mean.float()
            alike = similarity(x.float().expand_as(mean).flatten(0, 1), mean.flatten(0, 1), self.window)
        return 1 - draw.mean(alike.unflatten(0, mean.shape[:2]))


def similarity(x: Tensor, y: Tensor, window: int = 11) -> Tensor:
    """(N,) the multi-scale structural similarity of images (N, C, H, W) with values between 0 and 1."""
    side = min(x.shape[2:])
    window = min(window, side - 1 + side % 2)
    scales = next(n for n in range(len(WEIGHTS), 0, -1) if side >> (n - 1) >= window)
    weights = [weight / sum(WEIGHTS[:scales]) for weight in WEIGHTS[:scales]]
    alike = torch.ones_like(x[:, :, 0, 0])
    for scale, weight in enumerate(weights):
        light, structure = _compare(x, y, window)
        alike = alike * structure.clamp(min=LEAST) ** weight
        if scale == scales - 1:
            alike = alike * light.clamp(min=LEAST) ** weight
        else:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return alike.mean(1)


def _compare(x: Tensor, y: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """(N, C) luminance and contrast-structure of images (N, C, H, W), means over all places of the window."""
    moments = torch.stack([x, y, x * x, y * y, x * y])
    rows, columns = (_blur(size, window, x) for size in x.shape[2:])
    mx, my, xx, yy, xy = rows @ moments @ columns.T
    light = (2 * mx * my + C1) / (mx * mx + my * my + C1)
    structure = (2 * (xy - mx * my) + C2) / (xx - mx * mx + yy - my * my + C2)
    return light.mean((2, 3)), structure.mean((2, 3))


def _blur(size: int, window: int, like: Tensor) -> Tensor:
    """(size - window + 1, size) what takes a row of pixels to its Gaussian means.

    As a matrix, since along a side of an image its product is faster than a convolution with one channel.
    """
    place = torch.arange(size, device=like.device, dtype=like.dtype)
    offset = place - place[: size - window + 1].unsqueeze(1)
    bell = (-0.5 * ((offset - window // 2) / SIGMA).square()).exp() * ((offset >= 0) & (offset < window))
    return bell / bell.sum(1, keepdim=True)

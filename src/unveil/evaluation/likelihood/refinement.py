"""The best posterior of a family for each image: what an encoder would say if it had a mind for this image alone.

A posterior that is a network and a head gives way to the head alone, which reads numbers that belong to the images. They
begin at what the network says and follow the gradient of the ELBO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.data import Batch
from unveil.models import VAE
from unveil.objectives import Distortion, Rate
from unveil.part import Part
from unveil.parts import Head
from unveil.randomness import reseed

CHOOSING = 100
"""Draws by which the better posterior of an image is chosen; none of them enters a figure."""


class Free(Part):
    """q(z|x) whose head reads numbers (B, *parameters) of its own for each of B examples, instead of a network's.

    Args:
        head: what makes numbers a distribution.
        numbers: a row for each example of the batch that the model will draw for.
    """

    def __init__(self, head: Head, numbers: Tensor) -> None:
        super().__init__()
        self.head, self.numbers = head, numbers

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Distribution:
        distribution: Distribution = self.head(self.numbers)
        return distribution


@dataclass(frozen=True)
class Better:
    """What a search found for B images.

    Attributes:
        numbers: (B, *parameters) of the best posterior, the encoder's where none is better.
        improved: (B,) whether it is another than the encoder's.
        late: (draws, B) ELBO gained in the second half of the steps, draw by draw, on the CPU.
    """

    numbers: Tensor
    improved: Tensor
    late: Tensor


@dataclass(frozen=True)
class Search:
    """Adam with a step that falls linearly to zero; what counts is the mean of the iterates of the last half.

    Each image has its own numbers, and Adam looks at each number by itself, so that a batch of images is refined as each
    of them would be alone.

    Attributes:
        steps: at least 2.
        draws: of z for each image and step.
        rate: Adam's, to begin with.
        seed: of the noise, which is a function of (seed, block, step).
    """

    steps: int
    draws: int
    rate: float
    seed: int

    def best(self, model: VAE, head: Head, start: Tensor, batch: Batch, rows: int, place: int) -> Better:
        """The best of the encoder's numbers `start` (B, *parameters) and those after half of the steps and after all.

        Args:
            model: prior and likelihood.
            head: the posterior's.
            start: where the numbers begin.
            batch: the images.
            rows: most values of z decoded at a time.
            place: of this block among others, for its noise.
        """
        tries = [start, *self.descend(model, head, start, batch, place)]
        weights = log_weights(model, head, tries, batch, CHOOSING, rows, (self.seed, "choose", place))
        best = torch.stack([log_w.mean(0) for log_w in weights]).argmax(0).to(start.device)
        numbers = torch.stack(tries)[best, torch.arange(len(best), device=best.device)]
        return Better(numbers, best > 0, weights[2] - weights[1])

    @torch.enable_grad()
    def descend(self, model: VAE, head: Head, start: Tensor, batch: Batch, place: int) -> tuple[Tensor, Tensor]:
        """Numbers like `start` after half of the steps and after all; those of an image that became not finite stay."""
        numbers = start.clone().requires_grad_(True)
        free = VAE(model.prior, Free(head, numbers), model.likelihood)
        objective, t = Distortion() + Rate(), torch.zeros((), device=start.device)
        adam = torch.optim.Adam([numbers], self.rate)
        half = self.steps // 2
        first, last = torch.zeros_like(start), torch.zeros_like(start)
        for step in range(self.steps):
            reseed(self.seed, "refine", place, step, device=start.device)
            adam.param_groups[0]["lr"] = self.rate * (1 - step / self.steps)
            loss = objective(free.draw(batch, self.draws), free, t)
            assert isinstance(loss, Tensor)
            (numbers.grad,) = torch.autograd.grad(loss.sum(), numbers)
            adam.step()
            if half // 2 <= step < half:
                first += numbers.detach() / (half - half // 2)
            elif step >= half:
                last += numbers.detach() / (self.steps - half)
        return torch.where(first.isfinite(), first, start), torch.where(last.isfinite(), last, start)


@torch.no_grad()
def log_weights(
    model: VAE, head: Head, tries: Sequence[Tensor], batch: Batch, samples: int, rows: int, key: tuple[int | str, ...]
) -> list[Tensor]:
    """(samples, B) log importance weights under each of several posteriors, float64 on the CPU.

    The mean over draws is unbiased for the ELBO. The posteriors share their noise, so that differences between them have
    less of it than each by itself.

    Args:
        model: prior and likelihood.
        head: what makes numbers a posterior.
        tries: the numbers (B, *parameters) of each posterior.
        batch: the images.
        samples: draws of z for each image.
        rows: most values of z decoded at a time.
        key: what the noise is a function of.
    """
    count = max(1, rows // len(batch.x))
    found: list[list[Tensor]] = [[] for _ in tries]
    for numbers, parts in zip(tries, found, strict=True):
        free = VAE(model.prior, Free(head, numbers), model.likelihood)
        for start in range(0, samples, count):
            reseed(*key, start, device=numbers.device)
            parts.append(free.draw(batch, min(count, samples - start)).log_w.cpu().double())
    return [torch.cat(parts) for parts in found]

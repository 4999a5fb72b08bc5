"""A model whose truth is known: linear-Gaussian data under their own prior and likelihood.

The columns of W are orthogonal, so that the exact posterior has independent dimensions and every term can read it. Its
noise can be handed over with the examples, as their context: they can then be cut and shuffled without another draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from unveil.data import Batch, LinearGaussian
from unveil.distributions import DiagonalGaussian
from unveil.models import VAE, Draw
from unveil.objectives import Term
from unveil.part import Part
from unveil.parts import Isotropic, Net, Standard
from unveil.randomness import generator
from unveil.verify.check import NotApplicable
from unveil.verify.subject import Subject, told

EXTRA = 3
"""By how many numbers an x is longer than a z."""
SCALE = 0.5
"""Standard deviation of x given z."""
LATER = 1_000.0
"""A time, in epochs, when every warm-up is over."""


class Affine(nn.Module):
    """z to W z + b."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return z @ self.weight.T + self.bias


class Scripted(DiagonalGaussian):
    """Independent Gaussians whose noise was handed over, (K, B, D)."""

    def __init__(self, loc: Tensor, log_scale: Tensor, noise: Tensor) -> None:
        super().__init__(loc, log_scale)
        self.noise = noise

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + self.scale * self.noise[: torch.Size(sample_shape).numel()]


class Exact(Part):
    """p(z|x), `width` times as wide; a context is taken for the noise of its draws."""

    def __init__(self, truth: LinearGaussian, width: float = 1.0) -> None:
        super().__init__()
        self.truth, self.width = truth, width

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> DiagonalGaussian:
        assert given is not None
        exact = self.truth.posterior(given)
        scale = exact.covariance_matrix.diagonal(dim1=-2, dim2=-1).sqrt()
        return scripted(exact.mean.float(), (scale.log() + log(self.width)).float(), context)


class Kept(Part):
    """A posterior that looks at the first D numbers of x alone."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = latent

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> DiagonalGaussian:
        assert given is not None
        loc = given[..., : self.latent]
        return scripted(loc, torch.full_like(loc, -0.5), context)


def scripted(loc: Tensor, log_scale: Tensor, context: Tensor | None) -> DiagonalGaussian:
    """Independent Gaussians, with the noise that `context` (B, K D) holds, if there is one."""
    if context is None:
        return DiagonalGaussian(loc, log_scale)
    return Scripted(loc, log_scale, context.unflatten(1, (-1, loc.shape[-1])).movedim(1, 0))


@dataclass(frozen=True)
class Toy:
    """A linear-Gaussian model.

    Attributes:
        truth: what x is drawn from.
        model: p(x, z) as it is, beside the exact posterior or one `width` times as wide.
        latent: D.
    """

    truth: LinearGaussian
    model: VAE
    latent: int

    def batch(self, n: int, seed: int, samples: int = 0) -> Batch:
        """`n` examples, with the noise for `samples` draws of each where there are to be any."""
        noise = torch.randn(n, samples * self.latent, generator=generator(seed, "toy noise")) if samples else None
        return Batch(self.truth.sample(n, seed), torch.arange(n), n, context=noise)


def toy(latent: int, seed: int, width: float = 1.0) -> Toy:
    """A linear-Gaussian model of D = `latent` dimensions and D + 3 numbers, as a function of `seed`."""
    source = generator(seed, "toy", latent)
    basis = torch.linalg.qr(torch.randn(latent + EXTRA, latent, generator=source)).Q
    gain = 0.4 + 0.8 * torch.rand(latent, generator=source)
    truth = LinearGaussian(basis * gain, torch.randn(latent + EXTRA, generator=source), SCALE)
    return Toy(truth, model_of(truth, Exact(truth, width)), latent)


def model_of(truth: LinearGaussian, posterior: Part) -> VAE:
    """The true prior and likelihood beside a posterior."""
    likelihood = Net(Affine(truth.weight, truth.bias), Isotropic(scale=truth.scale, learned=False))
    return VAE(Standard(truth.weight.shape[1]), posterior, likelihood).eval()


def latent_of(subject: Subject) -> int:
    """How many dimensions z of a toy must have for the subject's objective: those of its own z, where it is a vector."""
    shape = subject.prior().event_shape
    return shape[0] if len(shape) == 1 else 2


def ask(objective: Term, model: VAE, draw: Draw, t: float = LATER) -> Tensor:
    """(B,) the objective's loss of a toy's draw.

    Raises:
        NotApplicable: it is for other models or other x.
    """
    try:
        loss = told(objective(draw, model, torch.tensor(t)))
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:150]
        raise NotApplicable(f"the objective cannot be asked about linear-Gaussian data: {reason}") from None
    if loss.shape != (len(draw.batch.x),):
        raise NotApplicable("the objective gives no loss for each example of linear-Gaussian data")
    return loss.detach()


def drawn(objective: Term, model: VAE, batch: Batch) -> Draw:
    """Draws of a toy as the objective wants them."""
    return model.draw(batch, objective.samples or 1, objective.gradient or "pathwise")

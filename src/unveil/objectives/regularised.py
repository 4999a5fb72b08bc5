"""Prices for an autoencoder without a rate: how far z lies from the origin, and how steep the decoder is there."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from unveil.errors import SettingError
from unveil.models import Draw, Model
from unveil.objectives.term import Term


@runtime_checkable
class Decoding(Protocol):
    """A model whose p(x|z) is a module of its own."""

    likelihood: nn.Module


class Norm(Term):
    r"""Half the squared norm of z, over all layers.

    .. math:: \tfrac12 E \|z\|^2

    But for a constant this is -log p(z) of a standard normal prior, the part of the rate that is left under a posterior
    without width. Value and pathwise gradient are unbiased for the expectation over q.

    Returns:
        Nats per example, (B,).

    Source: Ghosh et al. 2020, From Variational to Deterministic Autoencoders, arXiv:1903.12436.
    """

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        return draw.mean(torch.stack([0.5 * z.square().flatten(2).sum(-1) for z in draw.z]).sum(0))


class GradientPenalty(Term):
    r"""The squared norm of the Jacobian of E[x|z] with respect to z: how fast the picture changes with z.

    .. math:: \| J \|_F^2 = E_v \| J^\top v \|^2, \quad J = \partial E[x|z] / \partial z

    By one random v of signs for each draw, which needs one pass backward instead of one for each entry of x. Value and
    gradient are unbiased for the squared norm. Of a model with several layers, z is the first.

    Returns:
        Squared change of x per squared change of z, for each example, (B,).

    Source: Ghosh et al. 2020, From Variational to Deterministic Autoencoders, arXiv:1903.12436; Hutchinson 1990, for v.
    """

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        if draw.batch.labelled is not None:
            raise SettingError("GradientPenalty decodes with the label, which is not known of all; take DecoderNorm()")
        wanted = torch.is_grad_enabled()
        with torch.enable_grad():
            z = draw.z[0] if draw.z[0].requires_grad else draw.z[0].detach().requires_grad_()
            mean = model.decode(z, draw.batch.context).mean
            signs = torch.randint(0, 2, mean.shape, device=mean.device, dtype=mean.dtype) * 2 - 1
            (slope,) = torch.autograd.grad(mean, z, signs, create_graph=wanted)
        return draw.mean(slope.square().flatten(2).sum(-1))


class DecoderNorm(Term):
    r"""Half the squared norm of the likelihood's weights, biases apart: weight decay for the decoder alone.

    .. math:: \tfrac12 \|\theta\|^2

    Where z costs its norm, this keeps the decoder from undoing that by larger weights. It reads no example.

    Returns:
        (B,), the same for each example.

    Raises:
        SettingError: a model without a likelihood of its own.

    Source: Ghosh et al. 2020, From Variational to Deterministic Autoencoders, arXiv:1903.12436.
    """

    reads_z = False

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        if not isinstance(model, Decoding):
            raise SettingError(f"DecoderNorm() reads the weights of p(x|z), and {type(model).__name__} keeps none apart")
        weights = [weight for weight in model.likelihood.parameters() if weight.dim() > 1]
        squares = [weight.float().square().sum() for weight in weights]
        return 0.5 * torch.stack(squares).sum().expand(len(draw.batch.x))

"""The functions of a model that travel: each takes tensors alone, and draws from the tape that it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.data import Batch
from unveil.errors import ExportError
from unveil.export.tape import taken
from unveil.models import Model

Tape = Callable[[], AbstractContextManager[Any]]
"""What is drawn within comes from the tape, from its beginning."""
Call = Callable[..., tuple[Tensor, ...]]
"""(model, n, tape, **inputs) to outputs, n rows of each."""


@dataclass(frozen=True)
class Function:
    """A function of a model.

    Attributes:
        call: what computes it.
        inputs: shape of one row of each input, but for noise.
        outputs: their names.
        once: inputs of which there is one row for all.
    """

    call: Call
    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    once: tuple[str, ...] = ()


def encode(model: Model, n: int, tape: Tape, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
    """Mean and standard deviation of q(z|x)."""
    with tape():
        posterior = model.encode(x, context)
        mean = posterior.mean
        return mean, posterior.stddev.expand_as(mean)


def decode(model: Model, n: int, tape: Tape, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
    """E[x|z]."""
    with tape():
        return (model.decode(z, context).mean,)


def prior(model: Model, n: int, tape: Tape, context: Tensor | None = None) -> tuple[Tensor, ...]:
    """z ~ p(z), in a model of several layers that of the first."""
    with tape():
        distribution: Distribution = model.prior(None, context)
        return (distribution.sample(torch.Size([] if distribution.batch_shape else [n])),)


def weigh(model: Model, n: int, tape: Tape, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
    r"""For n draws z ~ q(z|x) of one x, the z and the log of a weight whose mean estimates p(x) without bias.

    .. math:: \log w = \log p(x|z) + \log p(z) - \log q(z|x)

    What a model sums over, such as classes that are not known, is summed over here; the z is then that of the largest part.
    """
    spread = x.expand(n, *x.shape[1:])
    beside = None if context is None else context.expand(n, -1)
    nowhere = torch.full((n,), -1)  # no row of the training set
    with tape():
        draw = model.draw(Batch(spread, nowhere, n, beside))
        if not draw.rated:
            raise ExportError("q(z|x) has no density, so its draws have no weights")
        z, log_w, log_mass = draw.z[0], draw.log_w, draw.log_mass
    if len(log_mass) == 1:
        return z[0], (log_w + log_mass)[0]
    return taken(z.movedim(0, 1), log_mass.argmax(0)), (log_w + log_mass).logsumexp(0)


def sample(model: Model, n: int, tape: Tape, context: Tensor | None = None) -> tuple[Tensor, ...]:
    """x ~ p(x|z) with z ~ p(z), and E[x|z] of the same z."""
    with tape():
        x = model.sample(n, context)
    with tape():
        return x, model.sample(n, context, mean=True)


def functions(model: Model, shape: tuple[int, ...], classes: int, known: int | None) -> dict[str, Function]:
    """Every function by its name.

    Args:
        model: whose they are.
        shape: of one x.
        classes: C of the labels that it is conditioned on; 0 for none.
        known: how many labels a semi-supervised model was trained with, which finds the class of x itself; None for others.
    """
    given = {"context": (classes,)} if classes else {}
    seen = given if known is None else {}
    with torch.no_grad():
        example = None if not classes else next(iter(model.parameters())).new_zeros(1, classes)
        latent = tuple(model.prior(None, example).event_shape)
    if not prod(latent):
        raise ExportError("its z has no dimensions")
    return {
        "encode": Function(encode, {"x": shape, **seen}, ("mean", "scale")),
        "decode": Function(decode, {"z": latent, **given}, ("mean",)),
        "prior": Function(prior, given, ("z",)),
        "weigh": Function(weigh, {"x": shape, **seen}, ("z", "log_w"), once=("x", "context")),
        "sample": Function(sample, given, ("x", "mean")),
    }

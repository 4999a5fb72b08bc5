"""What a model is asked for, as work on rows: x or z in, tensors with a row for each out."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from unveil.data import Batch
from unveil.evaluation import in_evaluation
from unveil.evaluation.anomaly.measured import KINDS, best
from unveil.evaluation.likelihood.contender import WEIGHTED
from unveil.evaluation.likelihood.weigh import spread_of, weights
from unveil.models import Model
from unveil.randomness import reseed
from unveil.serving.together import Found, Piece


@dataclass(frozen=True)
class Sample:
    """x ~ p(x|z), z ~ p(z): the samples that `unveil sample` gives for the same seed.

    Attributes:
        model: what is called.
        mean: whether E[x|z] is given instead of x.
        counted: whether x are whole numbers, and given as such.
    """

    model: Model
    mean: bool = False
    counted: bool = False

    def __call__(self, piece: Piece) -> Found:
        with in_evaluation(self.model):
            x = self.model.sample(piece.count, piece.given["context"], seed=piece.seed, mean=self.mean).cpu()
        return {"x": x.int() if self.counted and bool(x.isfinite().all()) else x}


@dataclass(frozen=True)
class Encode:
    """Mean and scale of q(z|x)."""

    model: Model

    @torch.no_grad()
    def __call__(self, piece: Piece) -> Found:
        x, device = piece.given["x"], _device(self.model)
        assert x is not None
        with in_evaluation(self.model):
            reseed(piece.seed, "encode", device=device)
            posterior = self.model.encode(x.to(device), _on(piece.given["context"], device))
            return {"mean": posterior.mean.cpu(), "scale": posterior.stddev.cpu()}


@dataclass(frozen=True)
class Decode:
    """E[x|z]."""

    model: Model

    @torch.no_grad()
    def __call__(self, piece: Piece) -> Found:
        z, device = piece.given["z"], _device(self.model)
        assert z is not None
        with in_evaluation(self.model):
            reseed(piece.seed, "decode", device=device)
            return {"x": self.model.decode(z.to(device), _on(piece.given["context"], device)).mean.cpu()}


@dataclass(frozen=True)
class Reconstruct:
    """E[x|z] at the mean z of q(z|x)."""

    model: Model

    def __call__(self, piece: Piece) -> Found:
        z = Encode(self.model)(piece)["mean"]
        return Decode(self.model)(Piece(piece.count, piece.seed, {"z": z, "context": piece.given["context"]}))


@dataclass
class Score:
    """The nats of x, by the best estimate that the model has: -log p(x) by importance weights, for most.

    With them the standard error by the draws, to first order; NaN where the nats are no such estimate.

    Attributes:
        model: what weighs.
        samples: K, draws of z for each x.
        quantity: what the nats are, once some were found.
    """

    model: Model
    samples: int
    quantity: str = field(default="", init=False)

    @torch.no_grad()
    def __call__(self, piece: Piece) -> Found:
        x, context, device = piece.given["x"], piece.given["context"], _device(self.model)
        assert x is not None
        # no row is one of the training set, which an exemplar prior would leave out
        batch = Batch(x, torch.full((piece.count,), -1), piece.count, context=context).to(device)
        with in_evaluation(self.model):
            found = weights(self.model, batch, self.samples, piece.seed, "serve")
        self.quantity, nats = best(self.model, {name: found[name] for name in KINDS})
        known = self.quantity == WEIGHTED
        return {
            "nats": nats,
            "stderr": spread_of(found["ess"], self.samples).sqrt() if known else torch.full_like(nats, torch.nan),
        }


def _device(model: Model) -> torch.device:
    return next(model.parameters()).device


def _on(context: Tensor | None, device: torch.device) -> Tensor | None:
    return None if context is None else context.to(device)

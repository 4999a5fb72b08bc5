"""Distributions over sequences of codes: z is a sequence of vectors, and only vectors of an alphabet occur in it.

Vector quantisation is a posterior with all its mass on one sequence. Codes are counted, so that mass is one and not a
density without bound: log q of the chosen sequence is 0, the rate is -log p(z) in nats, and -ELBO = distortion + rate
bounds -log p(x) as it does for any other posterior.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl

from unveil.distributions.surface import Counted


class Alphabet(Protocol):
    """The vectors that z may be made of.

    Attributes:
        codes: how many there are for each place of the sequence.
        dimensions: numbers in one vector.
        depth: how many codes stand for one position, hence places = positions * depth; 1 but for residual codes.
    """

    codes: int
    dimensions: int
    depth: int

    def index(self, z: Tensor) -> Tensor:
        """(*lead, places) int64, the code nearest to each vector of z (*lead, places, dimensions)."""
        ...

    def vectors(self, index: Tensor) -> Tensor:
        """(*lead, places, dimensions) the vectors of codes `index` (*lead, places)."""
        ...


class ChosenCodes(Distribution):
    """One sequence of codes, with certainty.

    Draws are the chosen vectors; the gradient with respect to them goes on to the inputs as if nothing had been chosen
    ('straight-through'), which is biased: the true gradient of a choice is zero almost everywhere.

    Args:
        inputs: (*batch, places, dimensions) what was quantised.
        vectors: of the same shape, the codes chosen.
        depth: how many codes in a row stand for one position and share its gradient.

    Source: van den Oord et al. 2017, Neural Discrete Representation Learning, arXiv:1711.00937; Bengio et al. 2013,
    Estimating or Propagating Gradients Through Stochastic Neurons, arXiv:1308.3432.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = Counted()
    has_rsample = True

    def __init__(self, inputs: Tensor, vectors: Tensor, depth: int = 1) -> None:
        self.inputs, self.vectors, self.depth = inputs, vectors.detach(), depth
        super().__init__(inputs.shape[:-2], inputs.shape[-2:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(*batch, places, dimensions) the chosen codes."""
        return self.vectors

    @property
    def stddev(self) -> Tensor:
        """(*batch, places, dimensions) zeros."""
        return torch.zeros_like(self.vectors)

    @property
    def variance(self) -> Tensor:
        """(*batch, places, dimensions) zeros."""
        return torch.zeros_like(self.vectors)

    def gap(self) -> Tensor:
        """(*batch) squared distance between inputs and codes, summed; its gradient moves the inputs alone."""
        return (self.inputs - self.vectors).square().sum((-2, -1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, places, dimensions) the chosen codes, each time."""
        # inputs - inputs is exactly zero, so that values are codes to the last digit
        z = self.vectors + (self.inputs - self.inputs.detach()) / self.depth
        return z.expand(torch.Size(sample_shape) + z.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) 0 for the chosen sequence, minus infinity for any other; `value` broadcasts against the batch."""
        chosen = (value == self.vectors).all(-1).all(-1)
        return torch.zeros_like(chosen, dtype=self.vectors.dtype).masked_fill(~chosen, -torch.inf)

    def entropy(self) -> Tensor:
        """(*batch) zeros."""
        return self.vectors.new_zeros(self.batch_shape)


class CodeSequence(Distribution):
    """A distribution over sequences of codes, by their indices.

    Two codes with the very same vector count as the first of them, which leaves -ELBO a bound.

    Args:
        alphabet: the codes.
        places: length of the sequence.
        log_mass: log-probabilities (N,) of sequences of indices (N, places).
        draw: gives n sequences of indices, (n, places).
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = Counted()

    def __init__(
        self,
        alphabet: Alphabet,
        places: int,
        log_mass: Callable[[Tensor], Tensor],
        draw: Callable[[int], Tensor],
    ) -> None:
        self.alphabet, self.log_mass, self.draw = alphabet, log_mass, draw
        super().__init__(torch.Size(), torch.Size([places, alphabet.dimensions]), validate_args=False)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, places, dimensions)."""
        shape = torch.Size(sample_shape)
        return self.alphabet.vectors(self.draw(prod(shape))).reshape(shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*lead) nats for value (*lead, places, dimensions); minus infinity where a vector is no code."""
        lead = value.shape[:-2]
        # the K draws of a posterior without noise are one: what was expanded is looked at once
        once = value.detach()[tuple(slice(0, 1 if step == 0 else None) for step in value.stride()[: len(lead)])]
        index = self.alphabet.index(once)
        known = (self.alphabet.vectors(index) == once).all(-1).all(-1)
        nats = self.log_mass(index.flatten(0, -2) if len(lead) else index[None]).reshape(known.shape)
        return nats.masked_fill(~known, -torch.inf).expand(lead)


@register_kl(ChosenCodes, CodeSequence)
def _divergence(q: ChosenCodes, p: CodeSequence) -> Tensor:
    return -p.log_prob(q.vectors)

"""Vector quantisation: codebooks that follow the encoder, the head that chooses from them, and the uniform prior.

An alphabet (a `Codebook`, a `ResidualCodebook`, a `Lattice`) is shared by posterior and prior; what is saved is a graph
in which it stands once.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from unveil.distributions import Alphabet, ChosenCodes, CodeSequence
from unveil.errors import SettingError
from unveil.part import Part
from unveil.parts.heads import Head
from unveil.words import counted

SMOOTHING = 1e-5
"""Added to the count of each code, so that one which nobody chose divides nothing by zero."""
DEAD = 0.05
"""A code chosen less than this share of what all would have if they were chosen alike begins anew."""


class Quantiser(Alphabet, Protocol):
    """An alphabet that chooses, and may learn from what it was chosen for."""

    def quantise(self, inputs: Tensor) -> ChosenCodes:
        """The choice for inputs (*lead, positions, dimensions)."""
        ...

    def follow(self, inputs: Tensor) -> None:
        """Take in what was quantised, (*lead, places, dimensions)."""
        ...


class Codebook(Part):
    r"""Vectors that each follow the moving average of the encoder's outputs nearest to them.

    .. math:: N_i \leftarrow \gamma N_i + (1-\gamma) n_i, \quad m_i \leftarrow \gamma m_i + (1-\gamma) \sum_{h \to i} h,
        \quad e_i = m_i / \tilde N_i

    with smoothed counts. It moves in `follow`, after a step that was found finite, and never in a forward pass; no
    gradient reaches it. The first update takes the vectors from the data themselves, and a code that is hardly ever
    chosen takes one again, since an average over nothing never moves.

    Args:
        codes: how many, at least 2.
        dimensions: of each.
        decay: how much of the averages each step keeps, at least 0 and below 1.

    Source: van den Oord et al. 2017, Neural Discrete Representation Learning, arXiv:1711.00937, appendix A.1; restarts
    as in Dhariwal et al. 2020, Jukebox, arXiv:2005.00341.
    """

    depth = 1
    table: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, codes: int, dimensions: int, decay: float = 0.99) -> None:
        super().__init__()
        if codes < 2 or dimensions < 1:
            raise SettingError(
                f"a book of {counted(codes, 'code')} of {counted(dimensions, 'number')} says nothing; give at least 2 and 1"
            )
        if not 0 <= decay < 1:
            raise SettingError(f"a moving average cannot keep {decay} of itself; give a decay from 0 to below 1")
        self.codes, self.dimensions, self.decay = codes, dimensions, decay
        self.register_buffer("table", torch.randn(codes, dimensions))
        self.register_buffer("counts", torch.zeros(codes))  # nothing was counted before the first update
        self.register_buffer("sums", torch.zeros(codes, dimensions))

    def index(self, z: Tensor) -> Tensor:
        """(*lead) int64, the code nearest to each vector of z (*lead, dimensions)."""
        # by differences: by products, a code would not always be nearest to itself
        distance = torch.cdist(
            z.detach().float().reshape(-1, self.dimensions),
            self.table,
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        return distance.argmin(-1).reshape(z.shape[:-1])

    def vectors(self, index: Tensor) -> Tensor:
        """(*lead, dimensions) the vectors of codes `index` (*lead)."""
        return self.table[index]

    def quantise(self, inputs: Tensor) -> ChosenCodes:
        """The nearest codes to inputs (*lead, positions, dimensions)."""
        return ChosenCodes(inputs, self.vectors(self.index(inputs)))

    @torch.no_grad()
    def follow(self, inputs: Tensor) -> None:
        """Move towards inputs (*lead, dimensions), each of which counts for the code nearest to it."""
        inputs = inputs.reshape(-1, self.dimensions).float()
        started = (self.counts.sum() > 0).float()  # the first update keeps nothing
        index = self.index(inputs)
        found = torch.zeros_like(self.counts).index_add_(0, index, torch.ones_like(inputs[:, 0]))
        total = torch.zeros_like(self.sums).index_add_(0, index, inputs)
        self.counts.lerp_(found, 1 - self.decay)
        self.sums.lerp_(total, 1 - self.decay)
        share = len(inputs) / self.codes
        dead = (self.counts < DEAD * share * started) | (started == 0)
        # without replacement as far as they go, so that no two codes begin alike
        order = torch.rand(len(inputs), device=inputs.device).argsort()
        fresh = inputs[order[torch.arange(self.codes, device=inputs.device) % len(inputs)]]
        self.sums.copy_(torch.where(dead[:, None], fresh * share, self.sums))
        self.counts.masked_fill_(dead, share)
        whole = self.counts.sum()
        smoothed = (self.counts + SMOOTHING) * whole / (whole + self.codes * SMOOTHING)
        self.table.copy_(torch.where(dead[:, None], fresh, self.sums / smoothed[:, None]))


class ResidualCodebook(Part):
    r"""Codebooks in a row, each of which quantises what those before it left over.

    A position stands for the sum of its L vectors, one from each book. All L stand in z, side by side, so that the codes
    can be told from z; `Summed` around a decoder adds them up.

    Args:
        books: L codebooks, the first for the coarse and the last for the fine; of the same size.

    Source: Zeghidour et al. 2021, SoundStream, arXiv:2107.03312; Lee et al. 2022, Autoregressive Image Generation using
    Residual Quantization, arXiv:2203.01941.
    """

    def __init__(self, books: Sequence[Codebook]) -> None:
        super().__init__()
        if len({(book.codes, book.dimensions) for book in books}) != 1:
            raise SettingError("residual codebooks must be of one size, and at least one; give them all the same")
        self.books = nn.ModuleList(books)
        self.depth, self.codes, self.dimensions = len(books), books[0].codes, books[0].dimensions

    def _each(self) -> list[Codebook]:
        return [book for book in self.books if isinstance(book, Codebook)]

    def index(self, z: Tensor) -> Tensor:
        """(*lead, L positions) int64, the code nearest to each vector of z (*lead, L positions, dimensions)."""
        parts = [book.index(z[..., place :: self.depth, :]) for place, book in enumerate(self._each())]
        return torch.stack(parts, -1).flatten(-2)

    def vectors(self, index: Tensor) -> Tensor:
        """(*lead, L positions, dimensions) the vectors of codes `index` (*lead, L positions)."""
        parts = [book.vectors(index[..., place :: self.depth]) for place, book in enumerate(self._each())]
        return torch.stack(parts, -2).flatten(-3, -2)

    def quantise(self, inputs: Tensor) -> ChosenCodes:
        """For inputs (*lead, positions, dimensions) L codes each, those of a position side by side."""
        rests, chosen = [], []
        for book in self._each():
            rests.append(inputs)
            chosen.append(book.vectors(book.index(inputs)))
            inputs = inputs - chosen[-1]
        return ChosenCodes(torch.stack(rests, -2).flatten(-3, -2), torch.stack(chosen, -2).flatten(-3, -2), self.depth)

    @torch.no_grad()
    def follow(self, inputs: Tensor) -> None:
        """Move each book towards what those before it, where they are now, leave of inputs (*lead, places, dimensions)."""
        rest = inputs[..., :: self.depth, :]
        for book in self._each():
            book.follow(rest)
            rest = rest - book.vectors(book.index(rest))


class Quantised(Head):
    """A posterior that chooses one code for each position, with certainty; the parameters are what it is chosen for.

    With a `ResidualCodebook` it chooses several for each, with a `Lattice` it rounds.

    Args:
        alphabet: the codes, shared with the prior.
        positions: how many vectors the encoder gives, at least 1.
    """

    def __init__(self, alphabet: Quantiser, positions: int) -> None:
        super().__init__()
        check_positions(positions)
        self.alphabet, self.positions = alphabet, positions

    def forward(self, parameters: Tensor) -> Distribution:
        return self.alphabet.quantise(parameters.float())

    def needs(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        return (self.positions, self.alphabet.dimensions)

    def update(self, draw: Any) -> None:
        """Let the codes follow the encoder; where it is frozen, so are they."""
        posterior = draw.posterior
        if isinstance(posterior, ChosenCodes) and posterior.inputs.requires_grad:
            self.alphabet.follow(draw.gather(posterior.inputs.detach()))


class UniformCodes(Part):
    """The prior under which every code is as likely as any other: positions * depth * log(codes) nats, whatever x.

    Args:
        alphabet: the codes, shared with the posterior.
        positions: how many the posterior has.
    """

    def __init__(self, alphabet: Alphabet, positions: int) -> None:
        super().__init__()
        check_positions(positions)
        self.alphabet, self.positions = alphabet, positions

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Distribution:
        return CodeSequence(self.alphabet, self.positions * self.alphabet.depth, self._log_mass, self._draw)

    def _log_mass(self, index: Tensor) -> Tensor:
        return torch.full(index.shape[:1], -index.shape[1] * log(self.alphabet.codes), device=index.device)

    def _draw(self, n: int) -> Tensor:
        return torch.randint(self.alphabet.codes, (n, self.positions * self.alphabet.depth))


def check_positions(positions: int) -> None:
    """Raises SettingError for a sequence without positions."""
    if positions < 1:
        raise SettingError(f"a sequence of {positions} codes says nothing; give at least 1 position")

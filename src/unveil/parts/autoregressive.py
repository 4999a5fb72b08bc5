"""A prior that writes codes one after another, each given those before it: a small causal transformer.

A uniform prior over codes makes every sequence as likely as any other, and most of them decode to nothing. This one
learns which occur. Its gradient moves nothing but itself, since codes are counted and not differentiated; so it may be
trained beside the autoencoder, or afterwards in the place of the uniform one, by the Rate.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from unveil.distributions import Alphabet, CodeSequence
from unveil.errors import SettingError
from unveil.networks.recurrence import Tensors, recur
from unveil.part import Part, pieces
from unveil.parts.codebook import check_positions

CHUNK = 2000
"""Sequences written at a time, so that memory does not grow with how many are asked for."""
Past = tuple[Tensor, Tensor]
"""Keys and values (N, heads, T, .) of all places, of which those before were looked at."""


class CausalBlock(nn.Module):
    """Attention to what came before, then a small network for each place, both added to what they read.

    Args:
        width: numbers at each place, a multiple of `heads`.
        heads: of the attention.

    Source: Vaswani et al. 2017, Attention Is All You Need, arXiv:1706.03762; normalised first, as in Radford et al. 2019.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.gather = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(
        self, h: Tensor, past: Past | None = None, here: Tensor | None = None, later: Tensor | None = None
    ) -> tuple[Tensor, Past]:
        """The next h (N, T, width), and keys and values to go on from.

        Args:
            h: (N, T, width) of all places; with a `past`, (N, 1, width) of one.
            past: what was given back for the place before, or zeros.
            here: (T,) true at the one place.
            later: (T,) true at the places after it.
        """
        whole = self.attend(self.before(h)).unflatten(-1, (3, self.heads, -1))
        query, key, value = (part.transpose(1, 2) for part in whole.unbind(2))
        if past is not None and here is not None:
            key, value = (torch.where(here[:, None], new, old) for new, old in zip((key, value), past, strict=True))
        # by hand: for sequences this short, torch's fused attention takes several times as long in bfloat16 on a CPU
        scores = query @ key.transpose(-1, -2) / (self.width / self.heads) ** 0.5
        if later is None:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=h.device).triu(1)
        found = scores.masked_fill(later, -torch.inf).softmax(-1).to(value.dtype) @ value
        h = h + self.gather(found.transpose(1, 2).flatten(2))
        return h + self.narrow(F.gelu(self.widen(self.between(h)))), (key, value)


class AutoregressiveCodes(Part):
    r"""p(z) = \prod_i p(code_i | code_1, ..., code_{i-1}).

    `log_prob` is exact, and one pass for all places; sampling goes place by place. It begins as the uniform prior.

    Args:
        alphabet: the codes, shared with the posterior.
        positions: how many the posterior has.
        width: of the transformer, a multiple of `heads`.
        layers: of the transformer, at least 1.
        heads: of its attention.
    """

    def __init__(self, alphabet: Alphabet, positions: int, width: int = 64, layers: int = 2, heads: int = 2) -> None:
        super().__init__()
        check_positions(positions)
        if heads < 1 or width < 1 or width % heads:
            raise SettingError(f"{heads} heads cannot share a width of {width}; give a width that is a multiple of heads")
        if layers < 1:
            raise SettingError(f"a transformer of {layers} layers sees nothing; give at least 1")
        self.alphabet, self.positions = alphabet, positions
        self.width, self.layers, self.heads = width, layers, heads
        self.places = positions * alphabet.depth
        self.word = nn.Embedding(alphabet.codes, width)
        self.place = nn.Parameter(torch.randn(self.places, width))  # the first one says that nothing came before
        self.blocks = nn.ModuleList(CausalBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, alphabet.codes)
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.bias.zero_()

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Distribution:
        return CodeSequence(self.alphabet, self.places, self._log_mass, self._draw)

    def _log_mass(self, index: Tensor) -> Tensor:
        """(N,) nats of sequences of indices (N, places)."""
        h = self.place + F.pad(self.word(index[:, :-1]), (0, 0, 1, 0))
        for block in self.blocks:
            h, _ = block(h)
        logits = self.last(self.norm(h)).float()
        return -F.cross_entropy(logits.flatten(0, 1), index.flatten(), reduction="none").unflatten(0, index.shape).sum(1)

    @torch.no_grad()
    def _draw(self, n: int) -> Tensor:
        """(n, places) sequences of indices."""
        return torch.cat([self._write(rows.stop - rows.start) for rows in pieces(n, CHUNK)])

    def _write(self, n: int) -> Tensor:
        device = self.place.device
        later = torch.ones(self.places, self.places, dtype=torch.bool, device=device).triu(1)
        here = ~(later | later.T)
        uniform = torch.rand(self.places, n, 1, device=device)
        nothing = self.place.new_zeros(n, 1, self.width)
        # keys and values have room for all places from the beginning, so that every step has the same shapes
        room = (n, self.heads, self.places, self.width // self.heads)
        pasts = [self.place.new_zeros(room) for _ in range(2 * self.layers)]
        (index,) = recur(_Step(self), (nothing, *pasts), (self.place, later, here, uniform))
        return index[..., 0].T


class _Step(nn.Module):
    """One place of a sequence: from the word before it, keys and values, and the place's uniforms, to the index there."""

    def __init__(self, prior: AutoregressiveCodes) -> None:
        super().__init__()
        self.word, self.blocks, self.norm, self.last = prior.word, prior.blocks, prior.norm, prior.last

    def forward(self, state: Tensors, given: Tensors) -> tuple[Tensors, Tensors]:
        place, later, here, uniform = given
        h: Tensor = state[0] + place
        kept: list[Tensor] = []
        for layer, block in enumerate(self.blocks):
            h, past = block(h, (state[2 * layer + 1], state[2 * layer + 2]), here, later)
            kept += past
        mass = self.last(self.norm(h))[:, 0].float().softmax(-1).cumsum(-1)
        # by the inverse of the distribution function
        index = (mass <= uniform * mass[:, -1:]).sum(-1, keepdim=True).clamp(max=mass.shape[-1] - 1)
        return (self.word(index), *kept), (index,)

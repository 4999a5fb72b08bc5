"""How a network reads a table: numbers around zero whatever their unit, a number for each class, and where the gaps are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from unveil.data import column

FAR = 30.0
"""What lies farther out than so many standard deviations is read as if it lay there, so that it does not drown the rest."""
TINY = torch.finfo(torch.float32).tiny

TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "real": lambda x: x,
    "positive": lambda x: x.clamp(min=TINY).log(),
    "count": lambda x: x.clamp(min=0).log1p(),
    "ordinal": lambda x: x,
}
"""What of a column is brought to location 0 and scale 1, by its kind."""


def moments(values: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of those of `values` (N,) that are known; 0 and 1 of none, and 1 of equal ones."""
    known = values[~values.isnan()].double()
    if len(known) == 0:
        return 0.0, 1.0
    spread = float(known.std(correction=0)) if float(known.max()) > float(known.min()) else 1.0
    return float(known.mean()), spread


class Tabular(nn.Module):
    """A network that sees the columns of a table, which may have gaps, as numbers that it learns from.

    Real columns are seen at location 0 and scale 1, positive ones by their logarithm, counts by log(1 + x), ordinal ones by
    the number of their class, all rescaled likewise; categorical ones as a number for each class, 1 for their own. An entry
    of which nothing is known is seen as the column's mean, and beside it, for the columns in `gaps`, a 1.

    Args:
        network: what sees these numbers, (N, F), F as `width` says; and the context of a conditional model.
        kinds: of each column: 'real', 'positive', 'count', 'ordinal:5' or 'categorical:3'.
        gaps: places of the columns that have gaps in training.

    Source: Nazabal et al. 2020, arXiv:1807.03653, whose recognition model sees zeros where nothing is known.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, kinds: Sequence[str], gaps: Sequence[int] = ()) -> None:
        super().__init__()
        self.network, self.kinds, self.gaps = network, tuple(kinds), tuple(gaps)
        size = width(self.kinds)
        self.register_buffer("loc", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        seen = (self._numbers(x.float()) - self.loc) / self.scale
        seen = torch.where(seen.isnan(), 0.0, seen).clamp(-FAR, FAR)
        if self.gaps:
            seen = torch.cat([seen, x[:, list(self.gaps)].isnan().to(seen.dtype)], -1)
        found: Tensor = self.network(seen, *context)
        return found

    def _numbers(self, x: Tensor) -> Tensor:
        """(N, F) of x (N, D); NaN for all that would tell of an entry of which nothing is known."""
        parts = []
        for place, text in enumerate(self.kinds):
            one, entry = column(text), x[:, place : place + 1]
            if one.kind == "categorical":
                # between two classes, where a learned pseudo-input may lie, it falls from one to the other
                parts.append((1 - (entry - torch.arange(one.classes, device=x.device)).abs()).clamp(min=0))
            else:
                parts.append(TRANSFORMS[one.kind](entry))
        return torch.cat(parts, -1)

    @torch.no_grad()
    def fit(self, x: Tensor) -> Tabular:
        """Take location and scale of what is known of x (N, D); gives itself. Classes keep their scale."""
        scaled = [column(text).kind != "categorical" for text in self.kinds for _ in range(width([text]))]
        for place, (values, rescale) in enumerate(zip(self._numbers(x).T, scaled, strict=True)):
            mean, spread = moments(values)
            self.loc[place], self.scale[place] = mean, spread if rescale else 1.0
        return self


def width(kinds: Sequence[str], gaps: Sequence[int] = ()) -> int:
    """How many numbers a network sees of these columns."""
    columns = map(column, kinds)
    return sum(one.classes if one.kind == "categorical" else 1 for one in columns) + len(gaps)

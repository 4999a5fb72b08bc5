r"""Whether p(x|z) is the kind of distribution that x has, given the z of its own encoder.

An entry's rank among draws from p(x|z), ties broken by chance, is uniform where the likelihood is right, whatever its kind
('probability integral transform'). Where ranks have a density h instead, replacing the distribution function F by H(F)
gains E[log h] nats for each entry, exactly that much where x is continuous and at least that much where it is counted: the
size of the misfit is in nats.

Source: Dawid 1984, The Prequential Approach; Czado et al. 2009, Predictive Model Assessment for Count Data (ties); Gneiting
et al. 2007, Probabilistic Forecasts, Calibration and Sharpness.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from unveil.doctor.case import ROWS, Case
from unveil.doctor.finding import Finding, some
from unveil.models import Draw
from unveil.words import counted, number

DRAWS = 39
"""From p(x|z), among which x has one of 40 ranks."""
NUMBERS = 10_000_000
"""Most numbers that are drawn in all; images come in fewer rows."""
END = 1 / (DRAWS + 1)
"""Share of x that lies below all draws, and of that above all, where the likelihood is right."""
BINS = 20
"""Of ranks: two to a bin."""
MISFIT = 0.03
"""Share of the nats, or nats for each entry, that a better likelihood must gain: a Gaussian under Laplace noise loses 0.07,
one of a scale wrong by a fifth 0.03, and counts under a Poisson of half their variance 0.15."""
CERTAIN = 5.0
"""Standard errors of a gain, over examples, before it is believed."""
APART = 1.5
"""How much more scales of their own must gain than one change for all entries, of whose gain the bins lose a sixth."""
OUTSIDE = 0.05
"""Share of the mass outside [0, 1] that is no rounding at black and white."""
HEADS = {
    "real": "train until the scale has settled, or let each entry have its own or learn the tails: in Python "
    "Gaussian or StudentT",
    "unit": "take a likelihood of gray values: in Python ContinuousBernoulli; or load them as levels",
    "levels": "take a likelihood with more freedom, in Python LogisticMixture or, for any distribution at all, Levels",
    "count": "take a negative binomial, which has a variance of its own, in place of a Poisson: in Python NegativeBinomial",
    "binary": "train longer, or give the decoder more width: 0 and 1 have no other likelihood",
    "columns": "look at the kinds of these columns: skewed ones are 'positive', whole numbers 'count' or 'ordinal'",
}
"""What to try where the likelihood of a measure does not fit."""


@dataclass(frozen=True)
class Ranks:
    """Where x falls among draws from its own p(x|z).

    Attributes:
        u: (n, E) ranks in (0, 1), uniform where the likelihood is right.
        outside: share of the mass of p(x|z) outside [0, 1].
    """

    u: Tensor
    outside: float


def ranks(case: Case) -> Ranks:
    """Ranks of training examples for which p(x|z) is a number, given one z of their posterior each.

    Where p(x|z) is no likelihood of gray x but of its binarised reading, it is that reading which is ranked.
    """
    size = case.data.space.size
    looks = case.each(lambda draw: _ranked(draw, case.model.normalised), rows=min(ROWS, max(8, NUMBERS // (DRAWS * size))))
    u, outside = zip(*looks, strict=True)
    return Ranks(torch.cat(u), float(torch.stack(outside).mean()))


def _ranked(draw: Draw, normalised: bool) -> tuple[Tensor, Tensor]:
    x = draw.batch.x if normalised else torch.bernoulli(draw.batch.x)
    below, ties, outside = torch.zeros_like(x), torch.zeros_like(x), torch.zeros((), device=x.device)
    # of the K values of z that a draw holds, one for each example, as often as it counts
    chosen, place = torch.multinomial(draw.log_mass.T.exp(), 1).flatten(), torch.arange(len(x), device=x.device)
    for _ in range(DRAWS):
        simulated = draw.output.sample()[chosen, place]
        below += simulated < x
        ties += simulated == x
        outside += ((simulated < 0) | (simulated > 1)).float().mean() / DRAWS
    chance = torch.rand_like(x)  # where nothing is known, any rank is as good
    u = torch.where(x.isnan(), chance, (below + (ties + 1) * chance) / (DRAWS + 1))
    sound = draw.log_px.isfinite().all(0)
    return u.flatten(1)[sound].cpu(), outside.cpu()


def likelihood_misfit(case: Case) -> Iterator[Finding]:
    """A likelihood that x does not look drawn from: its mass is elsewhere, its scale is shared in vain, its shape is wrong.

    One finding at most: the first of these that holds explains the others.
    """
    measure, found = case.data.space.measure, ranks(case)
    n, size = found.u.shape
    seen = f"{DRAWS} draws for each of n = {n:,} training examples of {counted(size, 'entry', 'entries')}"
    if not n:
        return
    whole = f"{case.figure} is {case.told('train')}"
    if measure == "unit" and case.model.normalised and found.outside > OUTSIDE:
        what = "the likelihood puts much of its mass where no gray value is"
        yield Finding("doubtful", what, f"{found.outside:.1%} of p(x|z) lies outside [0, 1], by {seen}", HEADS[measure])
        return
    together, error = _recalibrated(found.u)
    variances, (each, each_error), needed = _variances(found.u), _rescaled(found.u), case.worth(MISFIT)
    if each > needed and each > APART * together and each > CERTAIN * each_error:
        yield Finding(
            "doubtful",
            "the likelihood has the wrong scale for some entries",
            f"a scale for each entry would gain {number(each, 3)} ± {number(each_error, 2)} nats per example ({whole}); "
            "residuals have "
            f"from {number(float(variances.min()), 2)} to {number(float(variances.max()), 2)} times their variance (worst: "
            "entries "
            f"{some(_worst(variances))}), by {seen}",
            f"{HEADS[measure]}; or bring all entries to a common scale" if measure == "real" else HEADS[measure],
        )
    elif together > needed and together > CERTAIN * error:
        yield Finding(
            "doubtful",
            f"the likelihood does not fit: {_shape(found.u)}",
            f"the right shape would gain {number(together, 3)} ± {number(error, 2)} nats per example ({whole}); "
            f"{sum(_ends(found.u)):.1%} of x lie beyond all draws instead of {2 * END:.1%}, and {_middle(found.u):.1%} in "
            f"their middle half; {seen}",
            HEADS[measure],
        )


def _recalibrated(u: Tensor) -> tuple[float, float]:
    """Nats per example that the density of the ranks u (n, E) would gain, and the standard error over examples."""
    n = len(u)
    bins = (u * BINS).long().clamp(max=BINS - 1)
    density = bins.flatten().bincount(minlength=BINS).double() * BINS / u.numel()
    gains = density.clamp(min=1e-300).log()[bins].sum(1)  # an empty bin is never asked for
    # fitted to these very ranks, the density gains (bins - 1) / 2N nats per entry from nothing
    chance = (BINS - 1) / (2 * n)
    return float(gains.mean()) - chance, float(gains.std() / n**0.5) if n > 1 else float("inf")


def _variances(u: Tensor) -> Tensor:
    """(E,) of the normal scores of ranks u (n, E): one where the scale is right, at most 6 where it is far too small."""
    return _squares(u).mean(0)


def _squares(u: Tensor) -> Tensor:
    return torch.special.ndtri(u.double().clamp(1e-6, 1 - 1e-6)).square()


def _rescaled(u: Tensor) -> tuple[float, float]:
    """Nats per example that a scale for each entry would gain, and the standard error over examples.

    The scales that either half of the rows would have are tried on the other: tried on their own they gain from noise, and
    as entries of one example depend on each other, that does not average out over many entries.
    """
    squares = _squares(u)
    if len(u) < 4:
        return 0.0, inf
    halves = squares[::2], squares[1::2]
    gains = []
    for own, other in (halves, halves[::-1]):
        variances = other.mean(0).clamp(min=1e-6)
        gains.append(0.5 * (own - own / variances - variances.log()).sum(1))
    whole = torch.cat(gains)
    return float(whole.mean()), float(whole.std() / len(whole) ** 0.5)


def _worst(variances: Tensor) -> Tensor:
    return (variances.log().abs()).argsort(descending=True)[: max(1, int(((variances - 1).abs() > 0.5).sum()))]


def _middle(u: Tensor) -> float:
    """Share of ranks in the middle half."""
    return float(((u > 0.25) & (u < 0.75)).double().mean())


def _ends(u: Tensor) -> tuple[float, float]:
    """Shares of ranks below and above all draws."""
    return float((u < END).double().mean()), float((u > 1 - END).double().mean())


def _shape(u: Tensor) -> str:
    """In words how ranks are not uniform."""
    low, high = (end / END for end in _ends(u))
    peaked = _middle(u) > 0.5
    if min(low, high) > 1.1:
        return "x has heavier tails and a sharper peak" if peaked else "it is too sure, x varies more"
    if max(low, high) < 0.9:
        return "it is too broad, x varies less" if peaked else "x has lighter tails and a flatter peak"
    return f"it is off to one side, x is more often {'above' if high > low else 'below'} it"

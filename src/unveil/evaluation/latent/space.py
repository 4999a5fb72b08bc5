"""The latent space: which dimensions of z are used, what each costs, and what of the labels can be read off it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import exp
from typing import Any

import torch
from torch import Tensor

from unveil.data import Split
from unveil.errors import SettingError
from unveil.evaluation.bound import in_evaluation
from unveil.evaluation.encoding import CHUNK, NUMBERS, encoded
from unveil.evaluation.figure import Figure
from unveil.evaluation.latent.activity import Layer, Means, Unit, activity, rates_by_dimension
from unveil.evaluation.latent.probes import Probes, probes
from unveil.models import Draw, Model
from unveil.parts.heads import BOUND
from unveil.randomness import reseed
from unveil.words import counted, number

COLLAPSED = 0.01
"""Nats per example below which a dimension has collapsed, and a layer carries nothing."""
LITTLE = 0.1
"""Nats per example below which all collapsed dimensions together carry nothing."""
EDGE = 1.2
"""Within this factor of the bounds of a head's scales, a scale is as good as at them."""


@dataclass(frozen=True)
class LatentSpace:
    """What `latent_space` found, on some examples of one split, in one reading of each.

    Attributes:
        data: name of the data, and `split` which of its splits.
        fingerprint: SHA-256 over the values and labels that were used.
        seed: of binarisation, of the draws and of the subsets.
        examples: N.
        draws: K of each example, for rates without closed form and layers below the first.
        layers: from the first on.
        units: dimensions of the first layer by falling rate, or by falling variance where they have no rate of their own.
        collapsed: units that carry less than 0.01 nats each; None where they have no rate of their own.
        collapsed_rate: what those carry together, which is much where they are many; None where they are none.
        narrowest: the smallest posterior standard deviation of any example and dimension, and `widest` the largest.
        informed: whether the encoder is given the label, or the class that was found for it.
        probes: what of the labels can be read off the first layer's posterior means; None without labels.
        missing: what there is none of, and why.
    """

    data: str
    split: str
    fingerprint: str
    seed: int
    examples: int
    draws: int
    layers: tuple[Layer, ...]
    units: tuple[Unit, ...]
    collapsed: int | None
    collapsed_rate: Figure | None
    narrowest: float
    widest: float
    informed: bool
    probes: Probes | None
    missing: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for report.json."""
        return asdict(self)

    def table(self) -> list[tuple[str, str]]:
        """What the terminal prints: name, and value with error and unit."""
        found = []
        for place, layer in enumerate(self.layers, 1):
            which = f", layer {place}" if len(self.layers) > 1 else ""
            if layer.rate is not None:
                found.append((f"rate{which}", str(layer.rate)))
            if layer.active is not None:
                near = f", {layer.near} near the threshold" if layer.near else ""
                found.append((f"active units{which}", f"{layer.active} of {layer.dimensions}{near}"))
        if self.collapsed is not None:
            together = "" if self.collapsed_rate is None else f", together {self.collapsed_rate}"
            found.append(
                ("collapsed dimensions", f"{self.collapsed} of {len(self.units)} below {COLLAPSED} nats{together}")
            )
            found.append(("rate of the dimensions", ", ".join(_short(unit) for unit in self.units[:8])))
        found.append(("posterior standard deviations", f"{number(self.narrowest, 2)} to {number(self.widest, 2)}"))
        if self.probes is not None:
            given = "; the encoder is given the label" if self.informed else ""
            where = f"fitted on {self.probes.fitted:,} training examples{given}"
            found.append(("labels by a linear probe", f"{self.probes.linear}, {where}"))
            found.append((f"labels by {self.probes.neighbours} nearest neighbours", f"{self.probes.nearest}, {where}"))
            found.append(("labels by the most frequent one", str(self.probes.majority)))
        return found

    def advice(self) -> list[str]:
        """What cannot be trusted, and what a practitioner may change."""
        return [*self._of_units(), *self._of_scales(), *self._of_labels()]

    def _of_units(self) -> list[str]:
        found, count, together = [], len(self.units), self.collapsed_rate
        if together is not None and together.value >= LITTLE:
            found.append(
                f"{self.collapsed} of {count} dimensions carry less than {COLLAPSED} nats each, and {together.pair()} nats "
                "together: z is spread thin, and not empty; fewer dimensions would have to carry those nats"
            )
        elif self.collapsed == count:
            found.append(
                "every dimension has collapsed: z says next to nothing about x; warm the rate up for longer, leave it "
                "free bits (recipe free-bits-vae), or take a decoder that can do less by itself"
            )
        elif self.collapsed and together is not None:
            found.append(
                f"{self.collapsed} of {count} dimensions carry nothing to speak of, {together.pair()} nats together, and a "
                f"model of {count - self.collapsed} would do without; to have them used, warm the rate up for longer or "
                "leave it free bits"
            )
        empty = [place for place, layer in enumerate(self.layers, 1) if layer.rate and layer.rate.value < COLLAPSED]
        if len(self.layers) > 1 and empty:
            found.append(f"layers {', '.join(map(str, empty))} of {len(self.layers)} carry nothing: take fewer")
        for place, layer in enumerate(self.layers, 1):
            if layer.near and layer.near > 0.1 * layer.dimensions:
                found.append(
                    f"{layer.near} of {layer.dimensions} dimensions of layer {place} are near the threshold: the number of "
                    "active units says little here, read the rates"
                )
        return found

    def _of_scales(self) -> list[str]:
        narrow, wide = exp(-BOUND / 2), exp(BOUND / 2)
        if not (0 < self.narrowest < EDGE * narrow or self.widest > wide / EDGE):
            return []
        return [
            f"posterior standard deviations from {number(self.narrowest, 2)} to {number(self.widest, 2)} reach the bounds "
            "of a Gaussian "
            f"head, {number(narrow, 2)} and {number(wide, 2)}: look at the scale of x and of the likelihood"
        ]

    def _of_labels(self) -> list[str]:
        found, told = [], self.probes
        if told is None:
            return []
        if self.informed:
            found.append(
                "the encoder is given the label: accuracies say how far z repeats it, not what it found by itself, and a z "
                "that leaves it to the label is at the majority's"
            )
        elif not told.gain.value > 2 * told.gain.stderr:
            found.append(
                "what a linear map reads off z cannot be told from the most frequent label, said every time: it is right "
                f"{told.gain.pair()} % more often"
            )
        if told.nearest.value - told.linear.value > max(5.0, 4 * told.linear.stderr):
            found.append("classes lie apart in z, and not linearly: neighbours tell labels that a linear probe does not")
        if not told.settled:
            found.append("the linear probe has not converged: its accuracy is a little too low")
        return found


def _short(unit: Unit) -> str:
    assert unit.rate is not None
    return f"{unit.rate.value:.2f} (z{unit.index})"


def latent_space(
    model: Model,
    split: Split,
    train: Split | None = None,
    *,
    data: str = "",
    images: int | None = None,
    fitted: int = 10_000,
    neighbours: int = 10,
    draws: int = 8,
    seed: int = 0,
) -> LatentSpace:
    """Look at z of a split, in the reading that `seed` gives: the one whose rate `evaluate` tells.

    Rates are means over examples of KL(q || p), in closed form where there is one, else of K draws, and unbiased. Where
    there are labels, probes learn from posterior means of `train` and are scored on those of `split`.

    Args:
        model: what makes draws.
        split: the examples.
        train: what probes learn from; None for no probes.
        data: the data's name, for the record.
        images: how many examples to take, as a function of `seed`; None for all.
        fitted: most training examples that probes learn from, as a function of `seed`.
        neighbours: of the second probe.
        draws: K, at least 2.
        seed: of everything random.

    Raises:
        SettingError: fewer than two draws, or than two examples.
    """
    chosen = split.sample(images, seed)
    if draws < 2 or len(chosen) < 2:
        raise SettingError(
            f"{counted(draws, 'draw')} of {counted(len(chosen), 'example')} tell no variance; give at least 2 of each"
        )
    with in_evaluation(model), torch.no_grad():
        means, scales = (each.flatten(1) for each in encoded(model, chosen, seed))
        layers, rates = _layers(model, chosen, draws, seed, Means(means))
        found, missing = None, []
        try:
            found = None if train is None else _probe(model, train.sample(fitted, seed), chosen, means, neighbours, seed)
        except SettingError as error:
            missing.append(f"no probes: {error}")
    if rates is None:
        missing.append("no rate by dimension: posterior and prior are not both diagonal Gaussians of one layer")
    units = _units(Means(means), scales, rates)
    idle = None if rates is None else rates.double().mean(0) < COLLAPSED
    return LatentSpace(
        data=data,
        split=split.name,
        fingerprint=chosen.digest().hex(),
        seed=seed,
        examples=len(chosen),
        draws=draws,
        layers=layers,
        units=units,
        collapsed=None if idle is None else int(idle.sum()),
        collapsed_rate=None if rates is None or idle is None or not idle.any() else Figure.over(rates[:, idle].sum(1)),
        narrowest=float(scales.min()),
        widest=float(scales.max()),
        informed=split.context is not None,
        probes=found,
        missing=tuple(missing),
    )


def _rows(split: Split, draws: int) -> int:
    """How many examples to look at at a time."""
    return max(1, min(CHUNK, NUMBERS // split.values[0].numel() // draws))


def _layers(model: Model, split: Split, draws: int, seed: int, first: Means) -> tuple[tuple[Layer, ...], Tensor | None]:
    """Every layer, and the rates (N, D) of the first one's dimensions where they have some."""
    device = next(iter(model.parameters())).device
    whole: list[Tensor] = []
    rates: list[list[Tensor]] = []
    below: list[list[Means]] = []
    sizes: list[int] = []
    for place, batch in enumerate(split.batches(_rows(split, draws), seed)):
        reseed(seed, "latent", place, device=device)
        draw = model.draw(batch.to(device), draws)
        if draw.rated:
            rates.append([draw.mean(kl).cpu() for kl in draw.kl])
        # the masses of draws that were enumerated differ
        if bool((draw.log_mass == draw.log_mass[:1]).all()):
            below.append([Means.of_draws(z.cpu()) for z in draw.z[1:]])
        each = _by_dimension(draw)
        whole += [] if each is None else [each.cpu()]
        sizes = [z[0, 0].numel() for z in draw.z]
    counted = [first, *(Means.joined(list(parts)) for parts in zip(*below, strict=True))]
    layers = []
    for place, size in enumerate(sizes):
        rate = Figure.over(torch.cat([parts[place] for parts in rates])) if rates else None
        active, near = activity(counted[place].variances()) if place < len(counted) else (None, None)
        layers.append(Layer(size, rate, active, near))
    return tuple(layers), torch.cat(whole) if whole else None


def _by_dimension(draw: Draw) -> Tensor | None:
    if draw.posterior is None or draw.prior is None:
        return None
    return rates_by_dimension(draw.posterior, draw.prior)


def _units(means: Means, scales: Tensor, rates: Tensor | None) -> tuple[Unit, ...]:
    """Dimensions by falling rate, or by falling variance where there are no rates."""
    own = [None] * means.means.shape[1] if rates is None else [Figure.over(column) for column in rates.T]
    parts = zip(own, means.variances(), scales.double().mean(0).tolist(), strict=True)
    units = [Unit(index, rate, variance, scale) for index, (rate, variance, scale) in enumerate(parts)]
    return tuple(sorted(units, key=lambda unit: -(unit.variance if unit.rate is None else unit.rate).value))


def _probe(model: Model, train: Split, test: Split, means: Tensor, neighbours: int, seed: int) -> Probes | None:
    if train.labels is None or test.labels is None:
        return None
    return probes(encoded(model, train, seed)[0].flatten(1), train.labels, means, test.labels, neighbours)

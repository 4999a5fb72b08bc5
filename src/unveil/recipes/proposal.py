"""What to train where nobody has said: a recipe's settings as a function of the data, with a reason for each.

Data decide, and counts of operations; no clock and no trial. So the same data are given the same proposal everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch

from unveil.data import Dataset, Split
from unveil.parts import LIKELIHOODS
from unveil.recipes.recipe import RECIPES, Recipe
from unveil.training.config import Training
from unveil.training.reckoning import FEW, seconds
from unveil.training.step import Step
from unveil.words import counted

LOOKED_AT = 500
"""Training examples whose principal components are taken."""
HELD = 0.95
"""Of their variance, by as many components as z is to have dimensions at least."""
LATENT = (4, 8, 16, 32, 64)
"""Dimensions that z may have. A VAE leaves empty what it does not need, so rather more than fewer."""
BATCHES = (200, 128, 64, 32, 16)
"""Examples in a step."""
ENOUGH = 25
"""Steps in an epoch that a batch should leave at least."""
LARGE = 32
"""Rows or columns of pixels from which an image is given convolutions, whatever its colours."""
STEPS = (1_500, 8_000)
"""How many at least, and at most where these are enough epochs."""
EPOCHS = (5, 300)
TIME = 120.0
"""Seconds that training is to take on two CPU cores, as reckoned."""


@dataclass(frozen=True)
class Proposal:
    """A recipe for data, and why.

    Attributes:
        recipe: with the settings that are proposed.
        reasons: for likelihood, network, latent space, batch and budget: what is chosen, and why. None for a recipe that
            was made for the data.
    """

    recipe: Recipe
    reasons: Mapping[str, str] = field(default_factory=dict)

    def holding(self, chosen: Recipe) -> list[tuple[str, str]]:
        """The reasons for what is `chosen` in the end: none for a setting that somebody else has given."""
        settings: dict[str, Callable[[Recipe], object]] = {
            "network": lambda one: (one.model.network, one.model.hidden, one.model.channels, one.model.activation),
            "latent": lambda one: one.model.latent,
            "batch": lambda one: one.training.batch_size,
            "budget": lambda one: (one.training.epochs, one.training.batch_size),
        }
        given = [name for name, of in settings.items() if of(chosen) != of(self.recipe)]
        return [(name, reason) for name, reason in self.reasons.items() if name not in given]


def propose(data: Dataset) -> Proposal:
    """What to train on `data` where nobody has said: the recipe named like them, else settings that follow from them."""
    if data.name in RECIPES:
        return Proposal(RECIPES[data.name])
    table = data.space.measure == "columns"
    base, reasons = RECIPES["table" if table else "vae"], dict[str, str]()
    reasons["likelihood"] = f"{LIKELIHOODS[data.space.measure][0]}: x are {data.space.meaning}"
    network, reasons["network"] = _network(data, base)
    latent, reasons["latent"] = _latent(data)
    batch, reasons["batch"] = _batch(data.train)
    chosen = replace(base.given(network=network, latent=latent), training=replace(base.training, batch_size=batch))
    chosen, reasons["budget"] = _budget(data, chosen)
    return Proposal(chosen, reasons)


def _network(data: Dataset, base: Recipe) -> tuple[str, str]:
    space = data.space
    if space.is_image:
        channels, height, width = space.shape
        seen = f"images of {height} x {width}{' in colour' if channels > 1 else ''}"
        if min(height, width) >= LARGE:
            return "conv", f"convolutions with {', '.join(map(str, base.model.channels))} channels, for {seen}"
    else:
        seen = counted(len(space.columns) or space.size, "column" if space.columns else "number")
    return "mlp", f"{base.model.activation} layers of {' and '.join(map(str, base.model.hidden))}, for {seen}"


def _latent(data: Dataset) -> tuple[int, str]:
    if data.space.measure == "columns":
        columns = len(data.space.columns)
        latent = min(max(LATENT[0], columns), 16)
        return latent, f"{latent} dimensions, for {counted(columns, 'column')}"
    needed, rows = components(data.train)
    latent = next((one for one in LATENT if one >= needed), LATENT[-1])
    return latent, f"{latent} dimensions: {needed} principal components hold {HELD:.0%} of the variance of {rows} examples"


def components(split: Split) -> tuple[int, int]:
    """How many principal components hold `HELD` of the variance of some examples, and of how many examples."""
    some = split.sample(LOOKED_AT, 0)
    x = some.reading.mean(some.values[:]).double().flatten(1)
    x = x - x.mean(0)
    shares = torch.linalg.eigvalsh(x @ x.T).flip(0).clamp(min=0)  # as many as examples, which are fewer than pixels
    if not shares.sum() > 0:
        return 1, len(some)
    return int((shares.cumsum(0) < HELD * shares.sum()).sum()) + 1, len(some)


def _batch(split: Split) -> tuple[int, str]:
    batch = next((one for one in BATCHES if len(split) // one >= ENOUGH), BATCHES[-1])
    steps = len(split) // min(batch, len(split))
    return batch, f"{batch} examples, {counted(steps, 'step')} an epoch of {counted(len(split), 'training example')}"


def _budget(data: Dataset, chosen: Recipe) -> tuple[Recipe, str]:
    split, config = data.train, chosen.training
    each = len(split) // min(config.batch_size, len(split))
    lasts = 0.0
    if len(split) >= FEW:
        with torch.random.fork_rng([]):
            step = Step(*chosen.compose(data))
        lasts = seconds(step, split, config, "float32", torch.device("cpu"))
    low, high = STEPS
    steps = min(max(TIME / lasts, low), high) if lasts else low
    epochs = round(min(max(steps / each, EPOCHS[0]), EPOCHS[1]))
    training: Training = replace(
        config, epochs=epochs, validate_every=max(1, epochs // 50), checkpoint_every=max(5, epochs // 10)
    )
    said = f"{counted(epochs, 'epoch')}, {epochs * each:,} steps, roughly {_rough(epochs * each * lasts)} on two CPU cores"
    warm = chosen.given(kl_warmup=min(chosen.model.kl_warmup, round(epochs / 3, 1)))
    return replace(warm, training=training), f"{said}; the best on the validation split are kept"


def _rough(duration: float) -> str:
    return f"{duration / 60:.0f} min" if duration >= 90 else f"{max(duration, 10):.0f} s"

"""What can be wrong with data: values that say nothing, values on the wrong scale, and splits that are too small.

A check is a function from a data set to findings; whoever adds one puts it into `CHECKS`. Every row is read once, since
looking at a row costs less than decoding one; copies of rows are sought in `copies`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from unveil.data import Dataset, Split
from unveil.data.arrays import DARK
from unveil.data.store import Store
from unveil.doctor.copies import copies_between_splits, copies_within_splits
from unveil.doctor.finding import Finding, arranged, rows_of, some
from unveil.errors import option
from unveil.words import counted, number

MARGIN = 0.25
"""Share of constant pixels worth a word. Digits have a twelfth: a margin is what images have."""
BLANK = 0.01
"""Share of blank examples above which they are no oversight."""
SMALLEST_BLANK = 16
"""Entries of a counted example below which equal ones come by chance."""
SCALES = (0.01, 100.0)
"""Standard deviations that Gaussian likelihoods are made for: theirs lie between 0.0025 and 400, and want some room."""
MOST = 10_000
"""A count that is larger drowns all others in an encoder that reads counts as they are."""
UNBALANCED = 20.0
"""How much more often than the rarest the most frequent class may come: with 20 classes alike in size, one in all 20."""
CLASSES = 0.1
"""Labels of which there are more than this share of the rows name examples, not classes."""
FEWEST = {"train": 100, "validation": 20, "test": 20}
"""Rows: a hundred are learned by heart, and of a mean over 20 the standard error is itself uncertain by a sixth."""
SEEN = 20_000
"""Rows of a split that are looked at where it is not in memory."""
GRAY = ("binary", "unit", "levels")
"""Measures of images."""

Check = Callable[[Dataset], Iterator[Finding]]


def examine_data(data: Dataset) -> list[Finding]:
    """What is wrong with a data set, the worst first; empty where nothing is.

    Args:
        data: all of its splits are read; where they are not in memory, `SEEN` rows of each.
    """
    near = {name: data.split(name) for name in data.splits}
    if part := [name for name, split in near.items() if isinstance(split.values, Store) and len(split) > SEEN]:
        near |= {name: near[name].sample(SEEN, 0) for name in part}
    seen = replace(data, **{name: split.in_memory() for name, split in near.items()})  # type: ignore[arg-type]
    found = [finding for check in CHECKS for finding in check(seen)]
    if part:
        found.append(
            Finding(
                "note",
                "not every row was looked at, since they are not in memory",
                "; ".join(f"n = {SEEN:,} of {len(data.split(name)):,} rows in {name}" for name in part),
                "expect that what is rare, as copies are, was not seen",
            )
        )
    return arranged(found)


def _splits(data: Dataset) -> Iterator[tuple[Split, Tensor]]:
    """Each split with its stored values as (N, E), those without rows left out."""
    for name in data.splits:
        split = data.split(name)
        if len(split):
            yield split, split.values[:].flatten(1)


def values_not_finite(data: Dataset) -> Iterator[Finding]:
    """Entries that are no numbers: the steps that see them are lost, and their rows are never learned."""
    for split, values in _splits(data):
        bad = torch.zeros(0, dtype=torch.bool)
        if values.is_floating_point():
            gaps = values.isnan() if data.space.measure == "columns" else torch.zeros_like(values, dtype=torch.bool)
            bad = ~(torch.isfinite(values) | gaps).all(1)
        if bad.any():
            yield Finding(
                "wrong",
                f"the {split.name} split has rows that are not finite",
                f"{int(bad.sum()):,} of n = {len(split):,} rows ({rows_of(split, bad)} of the source)",
                "remove these rows, or fill their gaps",
            )


def constant_entries(data: Dataset) -> Iterator[Finding]:
    """Pixels or columns with one value in all of the training split."""
    if len(data.train) < 2:
        return
    values = data.train.values[:].flatten(1)
    low, high = _reach(values)
    constant = low == high
    count, size = int(constant.sum()), constant.numel()
    image = data.space.is_image
    if count == 0 or (image and count <= MARGIN * size):
        return
    moving = torch.zeros_like(constant)
    for _, others in _splits(data):
        moving |= constant & ((others != low) & ~others.isnan()).any(0)
    yield Finding(
        "note" if image else "doubtful",
        f"{count} of {size} {'pixels' if image else 'entries'} are the same in every training example",
        f"entries {some(constant.nonzero().flatten())}, in all n = {len(values):,} training rows; "
        f"{int(moving.sum())} of them are not constant in the other splits",
        "crop the margin: a smaller image trains faster"
        if image
        else "leave these entries out: under a density a constant is worth nats without end, and they mean nothing",
    )


def _reach(values: Tensor) -> tuple[Tensor, Tensor]:
    """(E,) the least and the largest of each entry of `values` (N, E), gaps left out."""
    if not values.is_floating_point():
        return values.amin(0), values.amax(0)
    unknown = values.isnan()
    return values.masked_fill(unknown, torch.inf).amin(0), values.masked_fill(unknown, -torch.inf).amax(0)


def constant_rows(data: Dataset) -> Iterator[Finding]:
    """Blank images, and rows that are one number over and over."""
    real = data.space.measure == "real"
    if data.space.measure == "columns" or data.space.size < (2 if real else SMALLEST_BLANK):
        return
    found = {split.name: values.amin(1) == values.amax(1) for split, values in _splits(data)}
    count, total = sum(int(blank.sum()) for blank in found.values()), sum(len(split) for split, _ in _splits(data))
    if count:
        where = "; ".join(
            f"{int(blank.sum()):,} in {name} ({rows_of(data.split(name), blank)})"
            for name, blank in found.items()
            if blank.any()
        )
        yield Finding(
            "doubtful" if count > BLANK * total else "note",
            f"{'images are blank' if data.space.is_image else 'rows are one number over and over'}",
            f"{count:,} of n = {total:,} rows: {where}",
            "remove them, unless blank examples are what the model is to make",
        )


def dim_images(data: Dataset) -> Iterator[Finding]:
    """Bytes whose brightest is far below what stands for white."""
    if data.space.measure not in GRAY:
        return
    brightest = max(int(values.max()) for _, values in _splits(data))
    white = float(data.train.reading.mean(torch.full((1,), brightest, dtype=data.train.values.dtype)))
    share = white / data.space.white
    if 0 < share < DARK / 255:
        yield Finding(
            "doubtful",
            "the images are read as nearly black: their brightest pixel is far from white",
            f"the brightest stored value is {brightest}, read as {share:.3f} of white, in all n = "
            f"{sum(len(split) for split, _ in _splits(data)):,} rows",
            f"say that {brightest} stands for white ({option('levels', brightest)}), or multiply all pixels before they "
            "are stored",
        )


def odd_scales(data: Dataset) -> Iterator[Finding]:
    """Real entries whose scale is far from that of the others: the likelihood of an array has one for all."""
    if data.space.measure != "real" or len(data.train) < 2:
        return
    deviations = data.train.values[:].flatten(1).double().std(0)
    if not (deviations > 0).any():
        return
    middle = deviations[deviations > 0].median()
    odd = (deviations > 0) & ((deviations < SCALES[0] * middle) | (deviations > SCALES[1] * middle))
    if odd.any():
        yield Finding(
            "doubtful",
            f"{int(odd.sum())} of {len(deviations)} real entries have a scale far from that of the others",
            f"standard deviations from {number(float(deviations[odd].min()), 3)} to "
            f"{number(float(deviations[odd].max()), 3)} (entries "
            f"{some(odd.nonzero().flatten())}), over n = {len(data.train):,} training rows, where the median is "
            f"{number(float(middle), 3)}; likelihoods are made for {number(SCALES[0])} to {number(SCALES[1])} of a common "
            "scale",
            "subtract each entry's training mean and divide by its training standard deviation; add the sum of the "
            "logarithms of those deviations to -log p(x) for nats of the data as they were; or load them as a table",
        )


def gray_stored_as_real(data: Dataset) -> Iterator[Finding]:
    """Images of floats in [0, 1], which were read as real numbers because they are floats."""
    shape = data.space.shape
    if data.space.measure != "real" or len(shape) != 3 or shape[0] not in (1, 3):
        return
    values = data.train.values[:]
    if values.min() == 0 and values.max() == 1:
        yield Finding(
            "note",
            "the data look like gray images and are read as real numbers",
            f"values run from exactly 0 to exactly 1 in images of shape {'x'.join(map(str, shape))}, n = {len(values):,} "
            "training rows",
            "store bytes 0..255 and load them as 'binary', 'unit' or 'levels', whose likelihoods know that gray ends there",
        )


def huge_counts(data: Dataset) -> Iterator[Finding]:
    """Counts too large to be read as they are; those in the columns of a table are read by their logarithm."""
    if data.space.measure != "count":
        return
    places = torch.arange(data.space.size)
    largest = data.train.values[:].flatten(1)[:, places].amax(0)
    huge = largest > MOST
    if huge.any():
        yield Finding(
            "doubtful",
            f"{int(huge.sum())} of {len(places)} count entries hold counts too large to be read as they are",
            f"up to {int(largest.max()):,} (entries {some(places[huge])}), over n = {len(data.train):,} training rows; "
            f"{MOST:,} is much",
            "count in a larger unit, or model the logarithm as real data",
        )


def _classes(data: Dataset) -> Tensor | None:
    """The classes that occur, in order; None where there are none, or labels that are no classes."""
    labels = [split.labels for split, _ in _splits(data)]
    if any(column is None for column in labels):
        return None
    whole = torch.cat([column for column in labels if column is not None])
    kinds = whole.unique()
    return None if len(kinds) < 2 or len(kinds) > CLASSES * len(whole) else kinds


def missing_classes(data: Dataset) -> Iterator[Finding]:
    """Classes of which a split has no example."""
    kinds = _classes(data)
    if kinds is None:
        return
    absent = {split.name: kinds[~torch.isin(kinds, split.labels)] for split, _ in _splits(data) if split.labels is not None}
    if any(map(len, absent.values())):
        where = "; ".join(
            f"{name} (n = {len(data.split(name)):,}) has none of {some(gone)}" for name, gone in absent.items() if len(gone)
        )
        yield Finding(
            "doubtful",
            "a split has no example of some classes",
            f"{where}; there are {len(kinds)} classes",
            "split the data anew at random; what is missing in training cannot be learned, and elsewhere is not judged",
        )


def unbalanced_classes(data: Dataset) -> Iterator[Finding]:
    """Classes of very unequal size in the training split."""
    if _classes(data) is None or data.train.labels is None:
        return
    kinds, counts = data.train.labels.unique(return_counts=True)
    if counts.max() > UNBALANCED * counts.min():
        most, least = int(counts.argmax()), int(counts.argmin())
        yield Finding(
            "note",
            "the classes are very unequal in size",
            f"class {int(kinds[most])} has {int(counts[most]):,} and class {int(kinds[least])} has {int(counts[least]):,} "
            f"of n = {len(data.train):,} training rows",
            "samples will be as unequal; for equal ones train a conditional model (recipe cvae) or draw rows of each "
            "class alike",
        )


def too_few_rows(data: Dataset) -> Iterator[Finding]:
    """Splits that are too small to learn from or to judge by."""
    short = {name: len(data.split(name)) for name, fewest in FEWEST.items() if len(data.split(name)) < fewest}
    if short:
        yield Finding(
            "doubtful",
            "there are too few rows to learn from" if "train" in short else "there are too few rows to judge by",
            "; ".join(f"n = {rows:,} in {name}, and {FEWEST[name]} are little" for name, rows in short.items()),
            "gather more data; with these take the smallest networks, and read standard errors as lower limits",
        )


def bad_files(data: Dataset) -> Iterator[Finding]:
    """Files that cannot be read, which training leaves out."""
    if data.bad:
        yield Finding(
            "doubtful",
            f"what cannot be read is left out: {counted(len(data.bad), 'file')} of the data",
            f"n = {len(data.whole()):,} examples are read beside them",
            "mend or remove what is damaged; `unveil inspect` names each and says what is wrong with it",
        )


CHECKS: list[Check] = [
    bad_files,
    values_not_finite,
    copies_between_splits,
    copies_within_splits,
    constant_entries,
    constant_rows,
    dim_images,
    odd_scales,
    gray_stored_as_real,
    huge_counts,
    missing_classes,
    unbalanced_classes,
    too_few_rows,
]
"""All checks of data."""

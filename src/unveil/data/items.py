"""PyTorch's datasets, read once: every item is looked at before anything is trained, and a wrong one is named by its index.

What a dataset does to its items is its own affair, and may be random. It is asked for each item once, so that what was read
has a fingerprint, and every epoch sees the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as Items
from torch.utils.data import IterableDataset

from unveil.data.arrays import as_labels, as_values, reading_for
from unveil.data.dataset import Dataset
from unveil.data.images.decode import GRAY, Frame, framed
from unveil.data.images.reading import every, reading_of_images, two_toned
from unveil.data.pick import ANY, Pick
from unveil.data.single import single, unmasked
from unveil.data.space import Measure, Space
from unveil.data.split import Split
from unveil.data.splitting import GIVEN, parted
from unveil.errors import DataError, unknown
from unveil.hardware import free_memory, gigabytes

ROOM = 0.25
"""Share of the memory that items may fill; for a moment they take twice as much."""


def from_items(
    source: Items | Mapping[str, Items],
    measure: Measure | None = None,
    pick: Pick = ANY,
    rows: int | None = None,
) -> Dataset:
    """A dataset from one of PyTorch's, map-style or iterable, or from several by the names of their splits.

    An item is x, (x, label), or a mapping with 'image' or 'x' and perhaps 'label'; x is a tensor, an array or an image of
    Pillow's. Tensors and arrays are read as `from_arrays` reads them, images as those in a folder are.

    Args:
        source: what holds the items; {'train': ..., 'test': ...} where it says which split each is of.
        measure: how x is read; None for the usual one.
        pick: which parts of a mapping are taken.
        rows: how many items to take, the first ones; None for all, which must end.

    Raises:
        DataError: an item that cannot be read, named by its index, or more of them than memory has room for.
    """
    named = by_split(source) if isinstance(source, Mapping) else {"": source}
    if rows is not None and rows < 1:
        raise DataError(f"{rows} rows cannot be taken; give at least 1")
    read, given = _Read(), {}
    for split, one in named.items():
        first = len(read.values)
        for index, item in _each(one, rows):
            read.add(item, f"item {index} of {type(one).__name__}{split and f' ({split})'}", pick)
        given[split] = torch.arange(first, len(read.values))
    name = type(next(iter(named.values()))).__name__
    values, labels = read.settled(name, measure)
    if read.pictures:
        reading = reading_of_images(values.shape[1], two_toned(values[:: every(len(values))].numpy()), measure, name)
    else:
        reading = reading_for(values, measure, name)
    whole = Split("all", values, labels, torch.arange(len(values)), reading)
    train, validation, test = parted(whole, given if "" not in given else {})
    return Dataset(name, Space(tuple(values.shape[1:]), reading.measure), train, validation, test)


def split_name(name: str) -> str:
    """The split that a name stands for; DataError where it is none."""
    if str(name).lower() not in GIVEN:
        raise unknown("split", str(name), GIVEN, DataError)
    return GIVEN[str(name).lower()]


def by_split(source: Mapping[str, Any]) -> dict[str, Any]:
    """What is given by names of splits, by the splits that these stand for.

    Raises:
        DataError: two names that stand for one split, or none for train.
    """
    named: dict[str, Any] = {}
    for name, one in source.items():
        if (split := split_name(name)) in named:
            raise DataError(f"there are two splits for {split}, {', '.join(map(str, source))}; give one")
        named[split] = one
    if "train" not in named:
        raise DataError(f"the splits are {', '.join(named) or 'none'}, and none is train; name one 'train'")
    return named


def _each(items: Items, rows: int | None) -> Iterator[tuple[int, Any]]:
    """Items in their order, with their index."""
    last = rows
    if isinstance(items, IterableDataset):
        found = iter(items)
    else:
        try:
            count = len(items)  # type: ignore[arg-type]
        except TypeError:
            raise DataError(f"{type(items).__name__} has no length; give it __len__, or make it iterable") from None
        found, last = (items[index] for index in range(count)), min(count, rows or count)
    index = 0
    while last is None or index < last:
        try:
            item = next(found)
        except StopIteration:
            return
        except Exception as error:  # somebody else's code, of which anything may come
            said = (str(error).splitlines() or [""])[0][:100]
            what = f"item {index} of {type(items).__name__} cannot be read: {type(error).__name__}: {said}"
            raise DataError(f"{what}; mend the dataset") from error
        yield index, item
        index += 1


@dataclass
class _Read:
    """What was read so far. The first item says what the others must be like.

    Attributes:
        values: the arrays of x.
        labels: as many classes, or none.
        pictures: whether they are images of Pillow's.
        size: bytes of all arrays.
        most: bytes that they may have.
    """

    values: list[np.ndarray] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    pictures: bool = False
    size: int = 0
    most: float = field(default_factory=lambda: ROOM * (free_memory() or inf))

    def add(self, item: Any, where: str, pick: Pick) -> None:
        """One more item; DataError says what is wrong with it."""
        x, marks = _parts(item, where, pick)
        array, picture = _array(x, where)
        if self.values:
            self._like_the_first(array, picture, bool(marks), where)
        self.pictures = picture
        self.values.append(array)
        self.labels.extend(_label(mark, where) for mark in marks)
        self.size += array.nbytes
        if self.size > self.most:
            raise DataError(
                f"{where} is beyond what is read into memory, {gigabytes(self.most)}; give rows=N for the first N "
                "items, or write them as a .npy file or as shards, which are read bit by bit"
            )

    def _like_the_first(self, array: np.ndarray, picture: bool, labelled: bool, where: str) -> None:
        first = self.values[0]
        if (array.shape, picture) != (first.shape, self.pictures):
            raise DataError(f"{where} has shape {array.shape}, and those before {first.shape}; bring all to one shape")
        if array.dtype != first.dtype and {array.dtype.kind, first.dtype.kind} != {"f"}:
            raise DataError(f"{where} has type {array.dtype}, and those before {first.dtype}; bring all to one type")
        if labelled != bool(self.labels):
            raise DataError(f"{where} has {'a' if labelled else 'no'} label, unlike those before; label all or none")

    def settled(self, name: str, measure: Measure | None) -> tuple[Tensor, Tensor | None]:
        """Stored values (N, *event), and labels (N,) where there are some."""
        if not self.values:
            raise DataError(f"{name} has no items; give at least one")
        values = as_values(np.stack(self.values), name, integers=measure == "count")
        return values, as_labels(np.array(self.labels), len(values), name) if self.labels else None


def _parts(item: Any, where: str, pick: Pick) -> tuple[Any, tuple[Any, ...]]:
    """x, and its label where it has one."""
    if isinstance(item, Mapping):
        image, label = pick.image(item, where), pick.label(item, where)
        return item[image], () if label is None else (item[label],)
    if isinstance(item, (tuple, list)):
        if len(item) not in (1, 2):
            raise DataError(f"{where} has {len(item)} parts; give x or (x, label), or a dict with 'x' and 'label'")
        return item[0], tuple(item[1:])
    return item, ()


def _array(x: Any, where: str) -> tuple[np.ndarray, bool]:
    """x as an array, and whether it was an image of Pillow's."""
    pillow = sys.modules.get("PIL.Image")  # who has not imported it gives no image of its kind
    if pillow is not None and isinstance(x, pillow.Image):
        from PIL import ImageOps

        upright = ImageOps.exif_transpose(x)
        frame = Frame((upright.height, upright.width), 1 if upright.mode in GRAY else 3)
        return framed(upright, frame, where), True
    try:
        if isinstance(x, Tensor):
            x = x.detach().cpu()
            x = (x.float() if x.is_floating_point() and x.itemsize < 4 else x).numpy()
        array = np.array(unmasked(x, where, gaps=False))
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{where} is no array: {str(error).splitlines()[0][:100]}; give tensors, arrays or images"
        ) from None
    if array.dtype.kind not in "fiub":
        raise DataError(f"{where} is {type(x).__name__} of type {array.dtype}; give tensors, arrays or images of numbers")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise DataError(f"{where} has entries that are not finite; remove or fill them")
        single(array[None], where)  # all together are made so, when it is known how far apart they are
    return array, False


def _label(mark: Any, where: str) -> int:
    try:
        value = np.asarray(mark.detach().cpu() if isinstance(mark, Tensor) else mark)
    except (ValueError, TypeError) as error:
        raise DataError(f"{where} has a label that is no number: {str(error).splitlines()[0][:100]}") from None
    numeric = value.size == 1 and value.dtype.kind in "iubf"
    if not numeric or not float(value.item()).is_integer() or not -(2**63) <= int(value.item()) < 2**63:
        raise DataError(f"{where} has the label {str(mark)[:40]!r}; number the classes 0, 1, 2, ...")
    return int(value.item())

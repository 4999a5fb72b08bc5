"""PyTorch's DataLoaders as data: what they load from, where nothing of theirs says that the data are something else.

Which rows make a batch, in which order and how many, is the training's own affair: a function of its seed and batch size. A
loader's batch size, shuffling, workers, `drop_last` and generator are therefore not looked at. A sampler or `collate_fn` of
one's own decides what the data are, and is refused with what to give instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)
from torch.utils.data import Dataset as Items

from unveil.errors import DataError


def behind(source: Any) -> Any:
    """The dataset that a DataLoader loads from, or several by the names of their splits; anything else as it is.

    Raises:
        DataError: a loader that makes other data of its dataset.
    """
    if isinstance(source, DataLoader):
        return _dataset(source)
    if isinstance(source, Mapping) and any(isinstance(one, DataLoader) for one in source.values()):
        return {name: behind(one) for name, one in source.items()}
    return source


def _dataset(loader: DataLoader) -> Items:
    items: Items = loader.dataset
    batches, what = loader.batch_sampler, f"this DataLoader of {type(items).__name__}"
    if batches is None:
        raise DataError(
            f"{what} has batch_size=None, so that its items may be batches already; give a dataset whose items are single "
            "examples: loader.dataset, if they are"
        )
    if loader.collate_fn is not default_collate:
        name = getattr(loader.collate_fn, "__name__", type(loader.collate_fn).__name__)
        raise DataError(
            f"{what} makes its batches by a collate_fn, {name}, that may change what the data are; let the dataset do so "
            "in its __getitem__, item by item, and give the dataset"
        )
    sampler = batches.sampler if type(batches) is BatchSampler else batches
    if not (isinstance(items, IterableDataset) or _takes_each_once(sampler, items)):
        raise DataError(
            f"{what} has a {type(sampler).__name__}, which decides what items there are and how often; give a dataset of "
            "those, such as torch.utils.data.Subset(dataset, indices), or loader.dataset for each of them once"
        )
    return items


def _takes_each_once(sampler: Any, items: Items) -> bool:
    """Whether it is one that DataLoader makes by itself: of all items, each of them once."""
    if type(sampler) is RandomSampler:
        whole = not sampler.replacement and sampler.num_samples == len(sampler.data_source)
        return sampler.data_source is items and whole
    return type(sampler) is SequentialSampler and sampler.data_source is items

"""Samples to be judged, drawn and read as the data are that they are compared with."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from unveil.data import Binarise, Dataset, Gray, Split
from unveil.errors import SettingError
from unveil.models import Model


def drawn(model: Model, like: Split, seed: int) -> Tensor:
    """(N, *event) one sample for each row of `like`, given its context where there is one, float32 on the CPU.

    These are the x that `model.sample(N, like.context, seed=seed)` gives, so that sample i can be drawn again and looked
    at. Take rows of the training split where the samples are to be held against test images: with the labels of those
    very images the two sets would not be independent, and their distance a little too small.

    Raises:
        SettingError: the model makes x of another shape, or numbers that are not finite.
    """
    x = model.sample(len(like), like.context, seed=seed).cpu()
    event = tuple(like.values.shape[1:])
    if tuple(x.shape[1:]) != event:
        raise SettingError(f"the model makes x of shape {tuple(x.shape[1:])}, and the data have {event}; match the two")
    bad = int((~torch.isfinite(x)).flatten(1).any(1).sum())
    if bad:
        raise SettingError(f"{bad} of {len(x)} samples hold numbers that are not finite; train the model anew")
    return x


def held_out(data: Dataset, name: str) -> Split:
    """The split that samples and training examples are both held against.

    Raises:
        SettingError: the training split, whose examples would be held against themselves.
    """
    if name == "train":
        raise SettingError(
            "samples cannot be held against training examples, which are not held out; take 'validation' or 'test'"
        )
    return data.split(name)


def read_alike(split: Split, x: Tensor) -> Split:
    """The split in the reading in which samples x come.

    A Bernoulli that was fitted to gray pixels by cross-entropy makes pixels that are 0 or 1. Such samples are to be held
    against binarised images: gray ones would be told apart from them at a glance, whatever the model has learnt.
    """
    if isinstance(split.reading, Gray) and bool(((x == 0) | (x == 1)).all()):
        return replace(split, reading=Binarise(split.reading.levels))
    return split

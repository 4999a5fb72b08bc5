"""`unveil.load`: one way in for every source."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset as Items

from unveil.data import digits, mnist, shapes
from unveil.data.arrays import from_arrays, from_file
from unveil.data.dataset import Dataset
from unveil.data.facts import facts_of
from unveil.data.held import HELD, Held
from unveil.data.hugging import from_hugging, holds_hugging, is_hugging
from unveil.data.images.folder import from_folder
from unveil.data.images.how import How
from unveil.data.images.scan import ARCHIVE, ENDINGS
from unveil.data.items import from_items
from unveil.data.loaders import behind
from unveil.data.mapped import File
from unveil.data.pick import Pick
from unveil.data.shards import from_shards, holds_shards
from unveil.data.space import MEANING, Measure
from unveil.data.synthetic import LinearGaussian
from unveil.data.tables import table as tables
from unveil.errors import DataError, near, option, unknown


def _linear_gaussian(folder: Path | None, measure: Measure | None) -> Dataset:
    if measure not in (None, "real"):
        raise DataError(f"linear-gaussian data are real numbers, not {measure!r}")
    return LinearGaussian.draw(size=8, latent=2).dataset()


NAMED: dict[str, Callable[[Path | None, Measure | None], Dataset]] = {
    "mnist": mnist.load,
    "digits": lambda folder, measure: digits.load(measure),
    "shapes": lambda folder, measure: shapes.load(measure),
    "linear-gaussian": _linear_gaussian,
}


def load(
    source: Any,
    labels: Any = None,
    *,
    data_dir: str | Path | None = None,
    measure: Measure | None = None,
    **options: Any,
) -> Dataset:
    """Data from a name, a file, a folder of images, arrays, or a dataset or loader of PyTorch's.

    Args:
        source: 'mnist', 'digits', 'shapes' (drawn here from known factors) or 'linear-gaussian'; a `.npy` or `.npz` file;
            a folder of images, of tar or Parquet shards, or one that Hugging Face's `save_to_disk` wrote; an array or
            tensor (N, *event); or one of PyTorch's datasets, map-style or iterable, or a DataLoader, which stands for its
            dataset, or one of Hugging Face's, or several of them by name of their split: {'train': ..., 'test': ...}.
        labels: (N,) integers where `source` is an array.
        data_dir: the folder with MNIST's files; else UNVEIL_DATA, else the user's cache.
        measure: how x is to be read: 'binary' or 'unit' for images, 'real' for floats; None for the usual one.
        options: for a folder of images or shards those of `images.How`: `size`, `channels`, `fit` and `bad_files`; for a
            table (`.csv`, `.tsv`, `.parquet`) those of `tables.How`: `columns`, `drop`, `label` and `split`; for an array's
            file those of `mapped.File`: `levels` and `mapped`; for datasets
            of PyTorch's `rows`, how many to take; for datasets and shards `image_column` and `label_column`; for all
            but the named ones `validation` and `test` of `Held`, a share or a source of its own.

    Returns:
        Train, validation and test splits in one space.

    Raises:
        DataError: nothing of that name, data that cannot be read, or an option that this source does not take.

    Example:
        >>> import unveil
        >>> print(unveil.load("digits"))
        digits: 1,437 train, 180 validation, 180 test; 1x8x8, 0 or 1, counted
    """
    if measure is not None and measure not in MEANING:
        raise unknown("measure", str(measure), MEANING, DataError)
    source = behind(source)
    for name in options:
        if name not in (known := takes(source)):
            raise _not_taken(source, name, known)
    if any(name in options for name in HELD):
        held = Held(*(options.pop(name, None) for name in HELD))
        main = load(source, labels, data_dir=data_dir, measure=measure, **options)
        return held.apply(main, lambda other: load_like(_path(other), facts_of(main), data_dir))
    if isinstance(source, Dataset):
        if measure not in (None, source.space.measure):
            raise DataError(f"{source.name} is loaded as {source.space.measure!r} already; load it anew as {measure!r}")
        return source
    if labels is not None and (is_hugging(source) or _items(source)):
        raise DataError("a dataset brings its own labels; give labels only beside an array")
    if is_hugging(source):
        return from_hugging(source, measure, *_wishes(options))
    if _items(source):
        rows = options.pop("rows", None)
        return from_items(source, measure, _wishes(options)[1], rows)
    if not isinstance(source, (str, Path)):
        return from_arrays(source, labels, measure=measure)
    if labels is not None:
        raise DataError(f"{source!r} brings its own labels; give labels only beside an array")
    if str(source) in NAMED:
        return replace(NAMED[str(source)](None if data_dir is None else Path(data_dir), measure), loadable=True)
    path = _path(source)
    # the whole path, for a run that is opened from elsewhere
    if _is_table(path):
        return replace(tables.from_table(path, measure, tables.How(**options)), name=str(path.absolute()), loadable=True)
    if path.is_dir():
        return replace(_folder(path, measure, options), name=str(path.absolute()), loadable=True)
    if path.is_file() and (what := _part(path)) is not None:
        raise DataError(f"{source} is {what}")
    if path.suffix in (".npy", ".npz") or path.is_file():
        return replace(from_file(path, measure, **options), name=str(path.absolute()), loadable=True)
    if len(path.parts) > 1 or path.suffix:
        raise DataError(f"there is no file or folder {source}")
    raise unknown(
        "data set", str(source), [*NAMED, "FILE.npy", "FILE.npz", "FILE.csv", "FILE.parquet", "FOLDER"], DataError
    )


def takes(source: Any) -> tuple[str, ...]:
    """The options that `load` takes for a source."""
    return () if _is_named(source) or isinstance(source, Dataset) else (*_takes(source), *HELD)


def _is_named(source: Any) -> bool:
    return isinstance(source, (str, Path)) and str(source) in NAMED


def _takes(source: Any) -> tuple[str, ...]:
    """How it is read."""
    if is_hugging(source):
        return tuple(field.name for kind in (How, Pick) for field in fields(kind))
    if _items(source):
        return (*(field.name for field in fields(Pick)), "rows")
    if not isinstance(source, (str, Path)) or _is_named(source):
        return ()
    if _is_table(path := _path(source)):
        return tuple(field.name for field in fields(tables.How))
    if not path.is_dir():
        return tuple(field.name for field in fields(File))
    columned = holds_hugging(path) or holds_shards(path)
    return tuple(field.name for kind in ((How, Pick) if columned else (How,)) for field in fields(kind))


def load_again(facts: Mapping[str, Any], data_dir: str | Path | None = None) -> Dataset:
    """The data that a manifest tells of, held out as they were."""
    found = load_like(facts["name"], facts, data_dir)
    held = Held(*(facts.get("options", {}).get(name) for name in HELD))
    return held.apply(found, lambda other: load_like(_path(other), facts, data_dir))


def load_like(
    source: Any,
    facts: Mapping[str, Any],
    data_dir: str | Path | None = None,
    strangers: bool = False,
    unlabelled: bool = False,
) -> Dataset:
    """Data read as others were that a manifest tells of: in the same space, by the same options where they apply.

    With `strangers`, rows of a table that have a class which its columns do not have are `Dataset.strange`, and else an
    error. So is, without `unlabelled`, a label that is missing or of no class; with it, the table has no labels then.
    """
    if isinstance(source, (str, Path)) and _is_table(path := _path(source)):
        return replace(tables.read_like(path, facts, strangers, unlabelled), name=str(path.absolute()))
    if isinstance(source, (str, Path)) and facts["measure"] == "columns":
        raise DataError(f"the run was trained on a table, and {source} is none; give a .csv or .parquet file")
    options = {name: value for name, value in facts.get("options", {}).items() if name in _takes(source)}
    shape = facts.get("shape", [])
    if "size" in takes(source) and len(shape) == 3 and shape[0] in (1, 3):
        options |= {"channels": shape[0], "size": tuple(shape[1:])}
    return load(source, data_dir=data_dir, measure=facts["measure"], **options)


def is_run(path: Path) -> bool:
    """Whether it is a run folder: it holds no data, though its pictures look like some."""
    return (path / "run.json").is_file()


def _folder(path: Path, measure: Measure | None, options: dict[str, Any]) -> Dataset:
    if is_run(path):
        raise DataError(f"{path} is a run folder, which holds a model and no data; give what it was trained on")
    how, pick = _wishes(options)
    if holds_hugging(path):
        return from_hugging(path, measure, how, pick)
    return from_shards(path, measure, how, pick) if holds_shards(path) else from_folder(path, measure, how)


def _wishes(options: dict[str, Any]) -> tuple[How, Pick]:
    """What was asked for of how images are brought to one shape, and of which columns are taken."""
    pick = Pick(options.pop("image_column", None), options.pop("label_column", None))
    return How(**options), pick


def _items(source: Any) -> bool:
    """Whether it is one of PyTorch's datasets, or several by name."""
    first = next(iter(source.values()), None) if isinstance(source, Mapping) else source
    return isinstance(first, Items)


def _called(source: Any) -> str:
    if isinstance(source, (str, Path)):
        return str(source)
    return "datasets" if is_hugging(source) or _items(source) else "arrays"


def _not_taken(source: Any, name: str, known: Sequence[str]) -> DataError:
    """The error for an option that says how other sources are read."""
    hint = f"did you mean {option(guess)}? " if (guess := near(name, known)) else ""
    taken = ", ".join(map(option, sorted(known))) or "none of these options, for it is read in one way"
    return DataError(f"{_called(source)} cannot take {option(name)}; {hint}it takes {taken}")


def _part(path: Path) -> str | None:
    """What a file is of which a folder is read, and what to give instead; None for any other."""
    for endings, what in ((ENDINGS, "image"), ((".tar",), "shard")):
        if path.name.lower().endswith(endings):
            return f"one {what}; give the folder that it lies in, {path.parent}"
    if ARCHIVE.search(path.name) is None:
        return None
    return (
        "an archive, which is not looked into; unpack it, or write it anew as .tar, and give the folder with what is in it"
    )


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in tables.SUFFIXES


def _path(source: str | Path) -> Path:
    return Path(os.path.expanduser(source))  # noqa: PTH111  leaves an unknown user's name as it is

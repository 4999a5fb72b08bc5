"""`unveil.load`: one way in for every source."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from unveil.data import digits, mnist, shapes
from unveil.data.arrays import from_arrays, from_file
from unveil.data.dataset import Dataset
from unveil.data.images.folder import How, from_folder
from unveil.data.space import MEANING, Measure
from unveil.data.synthetic import LinearGaussian
from unveil.data.tables import table as tables
from unveil.errors import DataError, unknown


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
    """Data from a name, a file, a folder of images or arrays.

    Args:
        source: 'mnist', 'digits', 'shapes' (drawn here from known factors) or 'linear-gaussian'; a `.npy` or `.npz` file;
            a table as `.csv`, `.tsv` or `.parquet`; a folder of images; or an array or tensor (N, *event).
        labels: (N,) integers where `source` is an array.
        data_dir: the folder with MNIST's files; else UNVEIL_DATA, else the user's cache.
        measure: how x is to be read: 'binary' or 'unit' for images, 'real' for floats; None for the usual one.
        options: for a table those of `tables.How`: `columns`, `drop`, `label` and `split`; for a folder of images those of
            `images.How`: `size`, `channels`, `fit` and `bad_files`; for a file `levels`, the byte that stands for white.

    Returns:
        Train, validation and test splits in one space.

    Raises:
        DataError: nothing of that name, data that cannot be read, or an option that this source does not take.
    """
    if measure is not None and measure not in MEANING:
        raise unknown("measure", str(measure), MEANING, DataError)
    for name in options:
        if name not in (known := takes(source)):
            raise unknown(f"option of {source if isinstance(source, (str, Path)) else 'arrays'}", name, known, DataError)
    if isinstance(source, Dataset):
        if measure not in (None, source.space.measure):
            raise DataError(f"{source.name} is loaded as {source.space.measure!r} already; load it anew as {measure!r}")
        return source
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
        return replace(from_folder(path, measure, How(**options)), name=str(path.absolute()), loadable=True)
    if path.suffix in (".npy", ".npz") or path.is_file():
        return replace(from_file(path, measure, **options), name=str(path.absolute()), loadable=True)
    if len(path.parts) > 1 or path.suffix:
        raise DataError(f"there is no file or folder {source}")
    raise unknown(
        "data set", str(source), [*NAMED, "FILE.npy", "FILE.npz", "FILE.csv", "FILE.parquet", "FOLDER"], DataError
    )


def takes(source: Any) -> tuple[str, ...]:
    """The options that `load` takes for a source."""
    if not isinstance(source, (str, Path)) or str(source) in NAMED:
        return ()
    if _is_table(path := _path(source)):
        return tuple(field.name for field in fields(tables.How))
    return tuple(field.name for field in fields(How)) if path.is_dir() else ("levels",)


def load_like(source: Any, facts: Mapping[str, Any], data_dir: str | Path | None = None) -> Dataset:
    """Data read as others were that a manifest tells of: in the same space, by the same options where they apply."""
    if isinstance(source, (str, Path)) and _is_table(path := _path(source)):
        return replace(tables.read_like(path, facts), name=str(path.absolute()))
    if isinstance(source, (str, Path)) and facts["measure"] == "columns":
        raise DataError(f"the run was trained on a table, and {source} is none; give a .csv or .parquet file")
    options = {name: value for name, value in facts.get("options", {}).items() if name in takes(source)}
    shape = facts.get("shape", [])
    if "size" in takes(source) and len(shape) == 3 and shape[0] in (1, 3):
        options |= {"channels": shape[0], "size": tuple(shape[1:])}
    return load(source, data_dir=data_dir, measure=facts["measure"], **options)


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in tables.SUFFIXES


def _path(source: str | Path) -> Path:
    return Path(os.path.expanduser(source))  # noqa: PTH111  leaves an unknown user's name as it is

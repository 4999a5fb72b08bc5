"""Commands that call a trained model: for samples, posteriors and reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unveil.cli import options
from unveil.cli.common import apart, ending, open_run, require_parquet, save_array, save_table, start, trained_on
from unveil.cli.parsing import parse
from unveil.errors import DataError, SettingError, unknown
from unveil.hardware import free_memory, gigabytes
from unveil.words import counted

if TYPE_CHECKING:
    from torch import Tensor

NUMBER = 8
"""Bytes that a number of a sample takes at least: it is drawn in parts, which are then put together."""


def sample(arguments: list[str]) -> int:
    """`unveil sample`."""
    given = parse(options.Sample, "sample", arguments)
    start()
    import unveil
    from unveil.data import Space
    from unveil.data.ink import was_ink
    from unveil.data.tables import by_name

    run = unveil.open(given.run)
    facts, table = run.manifest["data"], run.columns
    space = Space(tuple(facts["shape"]), facts["measure"], facts.get("levels", 256))
    out = given.out or Path("samples.csv" if table else "samples.png" if space.is_image else "samples.npy")
    kind = ending(out, (".csv", ".parquet", ".npy") if table else (".png", ".npy", ""))
    require_parquet(out)
    apart(out, *trained_on(run))
    needed, free = NUMBER * max(given.n, 0) * prod(space.shape), free_memory()
    if free is not None and needed > free:
        raise SettingError(
            f"{given.n:,} samples of shape {space.shape} need {gigabytes(needed)} of memory, and {gigabytes(free)} are "
            "free; ask for fewer at a time, each with a --seed of its own"
        )
    if kind != ".npy" and not table and not space.is_image:
        raise SettingError(f"samples of shape {space.shape} are no images; write them with --out samples.npy")
    context = run.context(_label(given.label, facts), given.n)
    x = run.model.sample(given.n, context, seed=given.seed, mean=given.mean)
    if kind == ".npy":
        save_array(out, x.numpy())
    elif table:
        save_table(out, {**by_name(x, table, written=not given.mean), **_labels(context, facts)})
    else:
        _draw(x / space.white, out, was_ink(facts))
    print(f"{counted(given.n, *(('mean E[x|z]', 'means E[x|z]') if given.mean else ('sample',)))} in {out}")
    return 0


def _label(given: str | None, facts: Mapping[str, Any]) -> int | None:
    """The number of a class that was asked for by its name or its number."""
    names = facts.get("class_names", [])
    if given is not None and not facts.get("classes"):
        return 0  # any: that the model has no classes is said where it is asked for one
    if given is None or given in names:
        return None if given is None else names.index(given)
    if not given.lstrip("-").isdecimal():
        raise unknown("class", given, names or ["0, 1, 2, ..."])
    return int(given)


def _labels(context: Tensor | None, facts: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The column of what a conditional model was asked for, as the table had it."""
    if context is None:
        return {}
    names, numbers = facts.get("class_names", []), context.argmax(1).tolist()
    return {facts["options"].get("label", "label"): [names[one] for one in numbers] if names else numbers}


def _draw(images: Tensor, out: Path, ink: bool) -> None:
    """A sheet, or a folder with one file for each, which is as the data are."""
    from unveil import album
    from unveil.pictures import save_image

    if out.suffix:
        album.samples(images, out, ink=ink)
        return
    digits = len(str(len(images) - 1))
    names = [f"{number:0{digits}}.png" for number in range(len(images))]
    if others := sorted({path.name for path in out.glob("*.png")}.difference(names)):
        raise SettingError(
            f"{out} holds {others[0]}, which would stand among these samples as one of them; name another --out"
        )
    for name, image in zip(names, images.numpy(), strict=True):
        save_image(image, out / name)


def encode(arguments: list[str]) -> int:
    """`unveil encode`."""
    given = parse(options.Encode, "encode", arguments)
    start()
    import numpy as np

    from unveil import generation

    ending(given.out, (".npz",))
    run, data = open_run(given.run, given.data, given.data_dir, given.out)
    split = data.split(given.split)
    found = generation.encode(run.model, split)
    label = np.full(len(found.index), -1) if found.label is None else found.label.numpy()
    named = {} if split.files is None else {"files": np.array(split.files, dtype=str)}  # savez takes no "file"
    columns = {"label": label, "index": found.index.numpy(), **named}
    save_array(given.out, mean=found.mean.numpy(), scale=found.scale.numpy(), **columns)
    print(
        f"{counted(len(label), 'posterior')} in {given.out}: mean and scale {tuple(found.mean.shape)}, {', '.join(columns)}"
    )
    return 0


def reconstruct(arguments: list[str]) -> int:
    """`unveil reconstruct`."""
    given = parse(options.Reconstruct, "reconstruct", arguments)
    start()
    from unveil import album

    ending(given.out, (".png",))
    if given.n < 1:
        raise SettingError(f"{given.n} examples cannot be drawn; ask for at least 1")
    run, data = open_run(given.run, given.data, given.data_dir, given.out)
    if not data.space.is_image:
        raise DataError(f"{data.name} holds no images; unveil encode writes its posteriors")
    album.reconstructions(run.model, data, given.out, given.split, given.n)
    print(f"originals over reconstructions in {given.out}")
    return 0

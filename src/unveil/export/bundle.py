"""A folder with a model that needs no Unveil: graphs, a manifest with hashes, a check, and the loader that calls it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unveil.errors import ExportError, SettingError, unknown
from unveil.export.about import described, notice
from unveil.export.checks import examples, packed
from unveil.export.forms import FORMS, Files
from unveil.export.graphs import pures, require
from unveil.export.loader import load_bundle
from unveil.export.readme import readme
from unveil.export.trace import Traced, quiet, traced
from unveil.export.unpack import BundleError
from unveil.part import carried, keep_home
from unveil.store.files import flush_folder, unwritable, write, write_json

if TYPE_CHECKING:
    from unveil.run import Run

To = Literal["onnx", "torch", "numpy"]
HERE = Path(__file__).parent


def bundle(run: Run, out: str | Path, to: To = "onnx", data: bool = True) -> Path:
    """Write a run's model as a folder that a loader in it calls.

    The folder is there whole or not at all, and what it gives was compared with the model's own numbers, to 1e-5.

    Args:
        run: trained.
        out: the folder, which is not to exist.
        to: 'onnx' for onnxruntime, 'torch' for torch.export, 'numpy' for nothing but NumPy.
        data: whether it may carry what was made of single training examples, as some priors are.

    Raises:
        SettingError: the folder exists, a package is missing, or the model carries data and may not.
        ExportError: no graph computes the model.
        RunError: it cannot be written.
    """
    out = Path(out)
    if to not in FORMS:
        raise unknown("form", to, FORMS)
    if out.exists() or out.is_symlink():
        raise SettingError(f"{out} exists; name another --out")
    require(*FORMS[to].packages)
    if not data:
        keep_home(run.model, "and a bundle carries what they are encoded as")
    with _room(out) as temporary:
        files, about = _written(run, to, carried(run.model))
        for name, content in files.items():
            write(temporary / name, content)
        hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
        write_json(temporary / "bundle.json", {**about, "files": hashes})
        try:
            with quiet():
                load_bundle(temporary).check()
        except BundleError as error:
            raise ExportError(f"its graphs do not give what the model gives: {error}") from None
    return out


def _written(run: Run, to: To, carries: Sequence[str]) -> tuple[Files, dict[str, Any]]:
    """All files of a bundle but its manifest, and what that says of the model."""
    with pures(run) as (modules, without):
        made: dict[str, Traced] = {}
        for name, module in modules.items():
            try:
                made[name] = traced(module)
            except ExportError as error:
                without[name] = str(error)
        files = FORMS[to].written(made, without)
        if "decode" not in made:
            raise ExportError(f"this model has no graph that decodes: {without['decode']}")
        files["check.npz"] = packed(examples({name: modules[name] for name in made}))
    for name in ("loader.py", "unpack.py", *FORMS[to].beside):
        files[name] = (HERE / name).read_bytes()
    about = described(run, to, made, without, carries)
    files["NOTICE.txt"], files["README.md"] = notice(about).encode(), readme(about).encode()
    return files, about


@contextmanager
def _room(out: Path) -> Iterator[Path]:
    """A folder to write into, made before the work, that stands at `out` once all went well; else nothing is left of it."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        try:
            yield temporary
            temporary.rename(out)
            flush_folder(out.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise unwritable(out, error) from error

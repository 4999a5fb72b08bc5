"""What a bundle's loader stands on: its files, checked; its graphs, run; its noise. It lies beside loader.py."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1
LARGEST = 4 * 2**30  # bytes of a file that is read
NEEDED = {"files": dict, "graphs": dict, "without": dict, "classes": int, "class_names": list, "to": str}


class BundleError(ValueError):
    """A folder that is no bundle or is damaged, or something asked of it that it does not have."""


def manifest(path: Path) -> dict[str, Any]:
    """What bundle.json says."""
    try:
        about = json.loads((path / "bundle.json").read_bytes())
        if about["format"] != FORMAT:
            raise BundleError(f"{path} has format {about['format']!r}, and this loader reads {FORMAT}; take its own")
        sound = all(isinstance(about[name], kind) for name, kind in NEEDED.items()) and "check.npz" in about["files"]
    except BundleError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise BundleError(f"{path} is no bundle: its bundle.json is missing or damaged")
    return dict(about)


def read(path: Path, name: str, digest: str) -> bytes:
    """What a file holds, that lies in the folder itself and is what the manifest says."""
    file = path / name
    if Path(name).name != name or file.is_symlink() or not file.is_file() or file.stat().st_size > LARGEST:
        raise BundleError(f"{path} is damaged: {name!r} is missing, or no file of the bundle's own")
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise BundleError(f"{path} is damaged: the SHA-256 of {name} is not the one that bundle.json states")
    return content


def uniforms(source: Any, rows: int, columns: int) -> Any:
    """(rows, columns) multiples of 2**-24 in [0, 1), from the raw bits of Philox, which no version of NumPy changes."""
    bits = source.random_raw(rows * columns).reshape(rows, columns) >> np.uint64(40)
    return bits.astype(np.float32) * np.float32(2**-24)


def normals(source: Any, rows: int, columns: int) -> Any:
    """(rows, columns) standard normals by Box and Muller's rule, two raw numbers for each."""
    bits = source.random_raw(2 * rows * columns).reshape(rows, columns, 2) >> np.uint64(11)
    one, two = bits.transpose(2, 0, 1) * 2.0**-53
    return (np.sqrt(-2 * np.log1p(-one)) * np.cos(2 * np.pi * two)).astype(np.float32)


def noise(said: dict[str, Any], seed: int) -> Any:
    """What gives the noise of the next rows of a function, by name: rows to (rows, columns) of each kind that it takes."""
    kinds = [("normal", said["normals"], normals), ("uniform", said["uniforms"], uniforms)]
    sources = [np.random.Philox(key=np.array([seed, place], np.uint64)) for place in range(len(kinds))]
    return lambda rows: {
        name: draw(source, rows, columns) for (name, columns, draw), source in zip(kinds, sources, strict=True) if columns
    }


def in_turn(about: dict[str, Any], label: Any, n: int) -> Any:
    """`label`, or for n samples of a conditional model without one all classes in turn."""
    return np.arange(n) % about["classes"] if label is None and about["classes"] else label


def one_hot(about: dict[str, Any], label: Any, n: int) -> Any:
    """(n, C) one-hot of `label`, a number, a name, or n of them."""
    classes, names = about["classes"], about["class_names"]
    known = f"the model knows 0 to {classes - 1} {' '.join(names)}".rstrip()
    if label is None:
        raise BundleError(f"this model is conditioned on a class, and none was given: give label=, {known}")
    numbers = [names.index(one) if one in names else one for one in np.broadcast_to(label, (n,)).tolist()]
    if any(not isinstance(one, int) or not 0 <= one < classes for one in numbers):
        raise BundleError(f"there is no class {label!r}; {known}")
    return np.eye(classes)[numbers]


def compare(found: Any, wanted: Any, what: str, tolerance: float, drawn: bool) -> None:
    """See that numbers are what they were where the bundle was made."""
    if found.shape != wanted.shape:
        raise BundleError(f"{what} has shape {found.shape}, and had {wanted.shape}")
    apart = np.abs(found - wanted) / (1 + np.abs(wanted).max())
    far, astray = apart.max(), int((~(apart <= tolerance)).sum())
    # what is drawn jumps from value to value: by the last digit of a probability one may fall the other way
    if astray > (max(1, found.size // 1000) if drawn else 0) or not np.isfinite(far):
        raise BundleError(f"{what} is {far:.1e} from what it was, more than {tolerance:.0e}")


def arrays(content: bytes, name: str) -> dict[str, Any]:
    """The arrays of an .npz file."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            return dict(found)
    except (ValueError, OSError, KeyError, TypeError, zipfile.BadZipFile):
        raise BundleError(f"the bundle is damaged: {name} holds no arrays") from None


def functions(about: dict[str, Any], files: dict[str, bytes]) -> dict[str, Any]:
    """Each function of the model by its name: what runs it, and what is said of it."""
    maker = {"onnx": _onnx, "torch": _torch, "numpy": _numpy}.get(about["to"])
    if maker is None:
        raise BundleError(f"graphs for {about['to']!r} are not known here; known: onnx, torch, numpy")
    try:
        return {name: (maker(name, files, said), said) for name, said in about["graphs"].items()}
    except BundleError:
        raise
    except ImportError as error:
        raise BundleError(f"this bundle needs {error.name}, which is not installed; pip install {error.name}") from None
    except Exception as error:  # whatever a runtime says of a graph that is none
        raise BundleError(f"the bundle is damaged: a graph of it cannot be read ({type(error).__name__})") from None


def _onnx(name: str, files: dict[str, bytes], said: dict[str, Any]) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(files[f"{name}.onnx"], providers=["CPUExecutionProvider"])
    return lambda given: session.run(said["outputs"], given)


def _torch(name: str, files: dict[str, bytes], said: dict[str, Any]) -> Any:
    import torch

    module = torch.export.load(io.BytesIO(files[f"{name}.pt2"])).module()

    def run(given: dict[str, Any]) -> list[Any]:
        with torch.no_grad():
            return [out.numpy() for out in module(*(torch.from_numpy(np.array(given[one])) for one in said["inputs"]))]

    return run


def _numpy(name: str, files: dict[str, bytes], said: dict[str, Any]) -> Any:
    if __package__:
        from unveil.export.interpreter import Graph
    else:
        from interpreter import Graph  # type: ignore[import-not-found,no-redef]

    return Graph(json.loads(files["graphs.json"])[name], arrays(files["weights.npz"], "weights.npz")).run

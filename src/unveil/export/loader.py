"""Call the model in this folder, with NumPy and what runs its graphs: onnxruntime, torch, or nothing else.

from loader import load_bundle

generate = load_bundle(".")
x = generate(64, seed=0)  # x ~ p(x|z) with z ~ p(z); generate(64, seed=0, label=3, mean=True) gives E[x|z]
mean, scale = generate.encode(x)
x = generate.decode(mean)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

if __package__:
    from unveil.export.unpack import BundleError, arrays, compare, functions, in_turn, manifest, noise, one_hot, read
else:
    from unpack import BundleError, arrays, compare, functions, in_turn, manifest, noise, one_hot, read  # type: ignore[import-not-found,no-redef]

ROWS = 500  # made at a time


class Bundle:
    """A model that is called for samples; `about` is what bundle.json says."""

    def __init__(self, path: str | Path) -> None:
        self.path, self.about = Path(path), manifest(Path(path))
        self._files = {name: read(self.path, name, digest) for name, digest in self.about["files"].items()}
        self._functions = functions(self.about, self._files)

    def __call__(self, n: int, seed: int = 0, label: Any = None, mean: bool = False) -> Any:
        """(n, *event) x of the model; a seed gives the same rows, however many follow. `label`: a class, or one a row."""
        label = in_turn(self.about, label, n)
        if "sample" in self._functions:
            return self._run("sample", n, seed, label)[int(mean)]
        if not mean:
            raise BundleError(f"it draws no x: {self.about['without'].get('sample')}; ask for mean=True")
        return self.decode(self._run("prior", n, seed, label)[0], label)

    def encode(self, x: Any, label: Any = None) -> tuple[Any, Any]:
        """Mean and standard deviation of q(z|x) for x (n, *event), each (n, *latent)."""
        mean, scale = self._run("encode", len(x), label=label, x=x)
        return mean, scale

    def decode(self, z: Any, label: Any = None) -> Any:
        """E[x|z] (n, *event) for z (n, *latent)."""
        return self._run("decode", len(z), label=label, z=z)[0]

    def weigh(self, x: Any, n: int = 500, seed: int = 0, label: Any = None) -> tuple[Any, Any]:
        """For one x (*event), n draws z ~ q(z|x) and log w of each; the mean of w estimates p(x)."""
        z, log_w = self._run("weigh", n, seed, label, x=np.asarray(x)[None])
        return z, log_w

    def check(self, tolerance: float = 1e-5) -> None:
        """See that every function gives here what it gave where the bundle was made; BundleError where one does not."""
        known = arrays(self._files["check.npz"], "check.npz")
        for name, (run, said) in self._functions.items():
            found = run({one: known[f"{name}.{one}"] for one in said["inputs"]})
            for output, array in zip(said["outputs"], found, strict=True):
                compare(array, known[f"{name}.{output}"], f"{output} of {name}", tolerance, drawn=output == "x")

    def _run(self, name: str, n: int, seed: int = 0, label: Any = None, **given: Any) -> list[Any]:
        if name not in self._functions:
            raise BundleError(f"it has no {name}: {self.about['without'].get(name, 'it was left out')}")
        if label is not None and not self.about["classes"]:
            raise BundleError("this model is conditioned on nothing, so it has no labels")
        if n < 1 or not 0 <= seed < 2**64:
            raise BundleError(f"{n} rows of seed {seed} cannot be; ask for at least 1, with a seed from 0 to below 2**64")
        run, said = self._functions[name]
        if "context" in said["inputs"]:
            given["context"] = one_hot(self.about, label, 1 if name == "weigh" else n)
        inputs = {one: np.asarray(given[one], np.float32) for one in said["inputs"] if one in given}
        draw, parts = noise(said, seed), []
        for start in range(0, n, ROWS):
            rows = slice(start, min(start + ROWS, n))
            asked = {one: array if name == "weigh" else array[rows] for one, array in inputs.items()}
            parts.append(run(asked | draw(rows.stop - start)))
        return [np.concatenate(part) for part in zip(*parts, strict=True)]


def load_bundle(path: str | Path) -> Bundle:
    """The model in a folder that `unveil export` wrote, its files checked against their hashes."""
    return Bundle(path)

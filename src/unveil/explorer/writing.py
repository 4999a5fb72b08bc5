"""A run as one page: template, style, scripts, weights and runtime in one file, which asks nothing of anybody."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from functools import cache
from pathlib import Path
from typing import Any

from unveil.data import Dataset
from unveil.explorer.content import content
from unveil.explorer.dense import dense
from unveil.explorer.engine import engine
from unveil.explorer.modules import joined
from unveil.explorer.weights import apart, packed
from unveil.export import graphs
from unveil.part import keep_home
from unveil.run import Run
from unveil.store import write

PAGE = Path(__file__).with_name("page")
RUNTIME = "ort-wasm-simd-threaded.wasm.gz"
FUNCTIONS = ("encode", "decode", "prior", "weigh", "sample")


def write_page(run: Run, out: Path, data: Dataset | None) -> int:
    """Write the page of a run, whole or not at all.

    Args:
        run: what is shown.
        out: the file.
        data: what it was trained on, of whose test split some examples travel in the page; None for none of them.

    Returns:
        How many bytes it has.

    Raises:
        SettingError: onnx is not installed, or there are to be no examples and the model's prior is made of them.
        RunError: the file cannot be written.
    """
    text = page(run, data).encode()
    write(out, text)
    return len(text)


def page(run: Run, data: Dataset | None) -> str:
    """The page as HTML."""
    if data is None:
        keep_home(run.model, "which the page would carry")
    made = graphs(run, half=True)
    found = {name: graph for name in FUNCTIONS if (graph := getattr(made, name)) is not None}
    parts = apart(found)
    blob, places = packed({**parts.slim, **parts.tensors})
    thread = gzip.compress(engine(PAGE).encode(), 9, mtime=0)
    packed_weights, runtime = gzip.compress(blob, 9, mtime=0), (PAGE / "vendor" / RUNTIME).read_bytes()
    know = content(run, data)
    know["model"] = {
        "graphs": {
            name: {
                "inputs": one.inputs,
                "outputs": one.outputs,
                "normals": one.normals,
                "uniforms": one.uniforms,
                "tensors": parts.called_by[name],
            }
            for name, one in found.items()
        },
        "places": places,
        "widths": parts.widths,
        "bytes": {"weights": len(packed_weights), "runtime": len(runtime), "engine": len(thread)},
        "without": dict(made.without),
    }
    return _filled(
        (PAGE / "index.html").read_text(encoding="utf-8"),
        title=html.escape(f"{know['facts']['title']}: a latent space to explore"),
        policy=html.escape(policy()),
        style="".join(sheet.read_text(encoding="utf-8") for sheet in sorted(PAGE.glob("*.css"))),
        know=_json(know),
        weights=dense(packed_weights),
        runtime=dense(runtime),
        engine=dense(thread),
        script=script(),
    )


@cache
def script() -> str:
    """The page's own scripts."""
    return joined(PAGE / "js", "main")


def policy() -> str:
    """What the browser is to let the page do: run its own script and the runtime, and ask nobody for anything."""
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}' 'wasm-unsafe-eval' blob:; worker-src blob:; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _json(value: Any) -> str:
    """JSON that no parser of HTML takes for the end of its element."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _filled(template: str, **parts: str) -> str:
    """The template with each {{name}} replaced, once, so that what is put in is never looked through."""
    pieces = template.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts.pop(name), rest]
    if parts:
        raise ValueError(f"the template has no place for {', '.join(parts)}")
    return "".join(filled)

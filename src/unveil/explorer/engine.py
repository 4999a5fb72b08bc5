"""The script of the model's own thread: the runtime, `dense.js` and `engine.js` as one plain script.

A page from a file may start no module as a thread, nor import one there, and the runtime comes as two modules. What makes
them modules is one statement at the end of each, an address that they ask for, and one import of the second by the first.
"""

from __future__ import annotations

import re
from pathlib import Path

OWN = ("dense.js", "engine.js")
IMPORT = "import(/*webpackIgnore:true*/e)"
ADDRESS = "import.meta.url"
NOWHERE = '"https://nowhere.invalid/"'
"""An address that is well-formed, from which nothing is asked: the runtime's binary is given to it."""


def engine(page: Path) -> str:
    """The script.

    Args:
        page: the folder with `vendor` and `js`.
    """
    threaded = (page / "vendor" / "ort-wasm-simd-threaded.mjs").read_text(encoding="utf-8")
    factory, mark, _ = threaded.partition("export default ortWasmThreaded;")
    runtime = (page / "vendor" / "ort.wasm.bundle.min.mjs").read_text(encoding="utf-8")
    body, _, names = runtime.rstrip().rpartition("export{")
    if not mark or not body or IMPORT not in body:
        raise ValueError("the vendored runtime is not of the form that is known")
    pairs = [one.strip().partition(" as ") for one in re.split(",", names.rstrip("};\n"))]
    exported = ", ".join(f'"{given or own}": {own}' for own, _, given in pairs)
    body = body.replace(IMPORT, "Promise.resolve({ default: ortWasmThreaded })")
    own = [re.sub("^export ", "", (page / "js" / name).read_text(encoding="utf-8"), flags=re.MULTILINE) for name in OWN]
    parts = (factory, body, f"const ort = {{ {exported} }};", *own)
    return "\n".join([*(part.replace(ADDRESS, NOWHERE) for part in parts), "serve(self, ort);"])

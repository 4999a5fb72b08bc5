"""A program of cells (`# %%`) as a notebook with what it printed and the pictures it drew.

The program runs in a process of its own, cell after cell, and what came of it is kept in build/programs/ under a digest of
its text and of the variables that steer it: it runs again when these are changed, or when the folder is removed. A picture
is shown in place of the line that names its file.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

KEPT = Path(__file__).parents[2] / "build" / "programs"
SHOWN = "tutorial-out"
"""What stands in its output for the folder that it wrote to."""


def cells(text: str) -> list[tuple[str, str]]:
    """(kind, source) of each cell: 'markdown', whose lines are comments, or 'code'."""
    found = []
    for head, body in re.findall(r"^# %%(.*)\n((?:(?!# %%).*\n?)*)", text, re.MULTILINE):
        if "[markdown]" in head:
            found.append(("markdown", re.sub(r"^# ?", "", body, flags=re.MULTILINE).strip()))
        else:
            found.append(("code", body.strip()))
    return found


def played(text: str, out: Path) -> list[str]:
    """What each cell of a program prints, run here and now; its files go to `out`."""
    os.environ["UNVEIL_TUTORIAL_OUT"] = str(out)
    names: dict[str, object] = {"__name__": "__main__"}
    said = []
    for kind, source in cells(text):
        with contextlib.redirect_stdout(io.StringIO()) as heard:
            if kind == "code":
                exec(compile(source, "<cell>", "exec"), names)
        said.append(heard.getvalue())
    return said


def kept(text: str) -> tuple[list[str], Path]:
    """What each cell printed, and the folder with its pictures: of an earlier run of the same text, or of one made now."""
    steered = sorted(pair for pair in os.environ.items() if pair[0].startswith("UNVEIL_TUTORIAL_"))
    out = KEPT / hashlib.sha256(f"{text}{steered}".encode()).hexdigest()[:16]
    record = out / "printed.json"
    if not record.exists():
        out.mkdir(parents=True, exist_ok=True)
        # in a process of its own: a program's seeds and settings are none of the build's
        subprocess.run([sys.executable, __file__, str(out)], input=text, text=True, check=True)
    return json.loads(record.read_text(encoding="utf-8")), out


def read(text: str):
    """The notebook of a program, as myst-nb asks for it."""
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

    printed, out = kept(text)
    made = []
    for (kind, source), said in zip(cells(text), printed, strict=True):
        if kind == "markdown":
            made.append(new_markdown_cell(source))
            continue
        outputs, lines, names = [], [], []
        for line in said.splitlines(keepends=True):
            picture = Path(line.strip())
            if picture.suffix == ".png" and picture.is_file():
                names.append(picture.stem.replace("_", " "))
                data = {"image/png": base64.b64encode(picture.read_bytes()).decode()}
                outputs.append(new_output("display_data", data=data))
            else:
                lines.append(line.replace(str(out), SHOWN))
        if lines:
            outputs.insert(0, new_output("stream", name="stdout", text="".join(lines)))
        about = {"mystnb": {"image": {"alt": ", ".join(names)}}} if names else {}
        made.append(new_code_cell(source, outputs=outputs, metadata=about))
    return new_notebook(cells=made, metadata={"language_info": {"name": "python"}})


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    record = played(sys.stdin.read(), folder)
    (folder / "printed.json").write_text(json.dumps(record), encoding="utf-8")

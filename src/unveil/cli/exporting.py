"""The command that takes a trained model elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from unveil.cli import options
from unveil.cli.common import apart, ending, start, trained_on
from unveil.cli.exploring import examples, write_out
from unveil.cli.parsing import parse

if TYPE_CHECKING:
    from unveil.run import Run


def export(arguments: list[str]) -> int:
    """`unveil export`."""
    given = parse(options.Export, "export", arguments)
    start()
    import unveil

    run = unveil.open(given.run)
    name = Path(given.run).resolve().name
    out = given.out or Path(f"{name}.html" if given.to == "html" else f"{name}-{given.to}")
    apart(out, *trained_on(run))
    if given.to == "html":
        ending(out, (".html",))
        write_out(run, out, None if given.no_data else examples(run))
        return 0
    return _bundle(run, out, given.to, not given.no_data)


def _bundle(run: Run, out: Path, to: Literal["onnx", "torch", "numpy"], data: bool) -> int:
    """A folder of graphs."""
    from unveil.export import bundle, load_bundle

    made = load_bundle(bundle(run, out, to, data))
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"{out} ({size / 1e6:.1f} MB): {', '.join(made.about['graphs'])}, which agree with the model to 1e-5")
    for name, reason in made.about["without"].items():
        print(f"without {name}: {reason}")
    asked = "4, seed=0" if "sample" in made.about["graphs"] else "4, seed=0, mean=True"
    print(f"call it: python -c \"from loader import load_bundle; print(load_bundle('.')({asked}).shape)\", in {out}")
    return 0

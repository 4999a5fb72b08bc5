"""The command that takes a trained model elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from unveil.cli.common import apart, start, trained_on
from unveil.cli.parsing import parse

if TYPE_CHECKING:
    from unveil.run import Run


@dataclass(frozen=True)
class Export:
    """Write a model in a form that needs no Unveil: a folder with its graphs, what they are, and a loader to call them.

    Attributes:
        run: a run folder.
        to: onnx for onnxruntime, torch for torch.export, numpy for NumPy alone.
        out: the folder, which is not to exist; without it, the run's name with what it is for: vae-onnx.
        data: --no-data refuses a model whose prior is made of training examples, which a bundle carries encoded.
    """

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    to: Literal["onnx", "torch", "numpy"] = "onnx"
    out: Path | None = None
    data: bool = True


def export(arguments: list[str]) -> int:
    """`unveil export`."""
    given = parse(Export, "export", arguments)
    start()
    import unveil

    run = unveil.open(given.run)
    out = given.out or Path(f"{given.run.resolve().name}-{given.to}")
    apart(out, *trained_on(run))
    return _bundle(run, out, given)


def _bundle(run: Run, out: Path, given: Export) -> int:
    """A folder of graphs."""
    from unveil.export import bundle, load_bundle

    made = load_bundle(bundle(run, out, given.to, given.data))
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"{out} ({size / 1e6:.1f} MB): {', '.join(made.about['graphs'])}, which agree with the model to 1e-5")
    for name, reason in made.about["without"].items():
        print(f"without {name}: {reason}")
    print(f"call it: python -c \"from loader import load_bundle; print(load_bundle('.')(4, seed=0).shape)\", in {out}")
    return 0

"""What the commands take that bring a trained model to others: pages, bundles, a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from unveil.cli.options.shared import Data, RunFolder
from unveil.serving.limits import Limits


@dataclass(frozen=True)
class Report:
    """Write a run down as one HTML page, to read or to print: its pictures, its report card, and how it was made.

    Attributes:
        run: a run folder.
        data: what to draw; without it, what the run was trained on.
        out: a .html file.
        no_data: leave out the pictures that show data: reconstructions, test examples in the latent plane, columns.
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
    """

    run: RunFolder
    data: Data = None
    out: Path = Path("report.html")
    no_data: bool = False
    data_dir: Path | None = None


@dataclass(frozen=True)
class Explore:
    """Write a run as one HTML page to move through, which works offline from a file, and open it in the browser.

    Attributes:
        run: a run folder.
        data: whose test split is shown; without it, that of what the run was trained on.
        out: a .html file.
        no_data: leave out all examples of the data: points, pictures, and walks between them.
        no_open: write the page, and do not open it.
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
    """

    run: RunFolder
    data: Data = None
    out: Path = Path("explore.html")
    no_data: bool = False
    no_open: bool = False
    data_dir: Path | None = None


@dataclass(frozen=True)
class Export:
    """Write a model in a form that needs no Unveil: graphs and a loader to call them in a folder, or a page to explore.

    Attributes:
        run: a run folder.
        to: onnx for onnxruntime, torch for torch.export, numpy for NumPy alone; html for the page of `unveil explore`.
        out: the folder, which is not to exist, or the .html file; without it, the run's name with what it is for: vae-onnx,
            vae.html.
        no_data: leave examples out of a page; refuse a bundle of a model whose prior is made of training examples, which it
            would carry encoded.
    """

    run: RunFolder
    to: Literal["onnx", "torch", "numpy", "html"] = "onnx"
    out: Path | None = None
    no_data: bool = False


@dataclass(frozen=True)
class Push:
    """Put a run on the Hugging Face Hub: manifest, weights, report card, records, a few pictures and a model card.

    Log in first by `hf auth login`, or set HF_TOKEN. No checkpoint goes, nothing executable, and no path of this machine.

    Attributes:
        run: a run folder.
        repo: where to, which is made where it is not there.
        private: only for whom its owner lets in; one that is there and public is refused.
        no_data: leave out pictures of examples and the values of single examples; refuse a model whose prior is made of
            training examples.
        revision: a branch, which is made where it is not there; without it, main.
        message: of the commit.
        license: under which the model is passed on, as the hub calls it: apache-2.0; without it, nothing is said of it.
    """

    run: RunFolder
    repo: Positional[Annotated[str, arg(metavar="OWNER/NAME")]]
    private: bool = False
    no_data: bool = False
    revision: str | None = None
    message: str | None = None
    license: str | None = None


@dataclass(frozen=True)
class Serve:
    """Serve a model over HTTP: POST /sample, /encode, /decode, /reconstruct and /score, GET / and /openapi.json.

    Without more it is reached from this machine alone. Ctrl-C ends it, once what was asked is answered.

    Attributes:
        run: a run folder.
        host: address to serve at; any but this machine's own wants a token.
        port: likewise; 0 for one that is free.
        allow_host: a name by which it is reached beside --host, as a proxy sends it; give the option once for each.
        allow_origin: the origin of pages that may ask, https://name; give the option once for each.
        token_file: a file with the token that requests must send; without it, $UNVEIL_TOKEN, if that is set.
        examples: most examples in a request.
        queue: requests that may wait; one more is answered 503.
        seconds: that a request may take; one that takes longer is answered 503.
        samples: K, draws of z for each x that is scored.
        no_batching: compute requests one after another, instead of those that wait together.
        threads: CPU threads; 0 for as many as torch takes.
    """

    run: RunFolder
    host: str = "127.0.0.1"
    port: int = 8000
    allow_host: UseAppendAction[tuple[str, ...]] = ()
    allow_origin: UseAppendAction[tuple[str, ...]] = ()
    token_file: Path | None = None
    examples: int = Limits.examples
    queue: int = Limits.queue
    seconds: float = Limits.seconds
    samples: int = 100
    no_batching: bool = False
    threads: int = 1

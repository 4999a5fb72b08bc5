"""The terminal face. `unveil --help` is answered from here alone: no torch, no tyro, a tenth of a second."""

from __future__ import annotations

import os
import sys
from importlib import import_module

COMMANDS = {
    "demo": ("training", "train on MNIST, draw the latent plane, say how good it is"),
    "train": ("training", "train a model on data of your choice: unveil train mnist --latent 10"),
    "tune": ("tuning", "try settings of a recipe, and say which are better: unveil tune mnist --trials 20"),
    "inspect": ("looking", "show what would be trained on: unveil inspect FOLDER"),
    "sample": ("using", "call a trained model: unveil sample RUN -n 64 --out x.png"),
    "encode": ("using", "write the posteriors of data: unveil encode RUN mnist --out z.npz"),
    "reconstruct": ("using", "draw data over their reconstructions: unveil reconstruct RUN --out x.png"),
    "impute": ("filling", "fill the gaps of a table: unveil impute RUN x.csv --out filled.csv"),
    "explore": ("exploring", "move through a latent space in the browser: unveil explore RUN"),
    "refit-prior": ("training", "fit a new prior to a trained model: unveil refit-prior RUN --prior mixture"),
    "evaluate": ("numbers", "say how good a model is, in nats: unveil evaluate RUN"),
    "compare": ("numbers", "say which of several runs is better: unveil compare RUN RUN"),
    "score": ("scores", "find anomalies: unveil score RUN DATA --fpr 0.01 --out scores.csv"),
    "report": ("reporting", "write a run down as a page to read and print: unveil report RUN"),
    "serve": ("serving", "answer requests over HTTP: unveil serve RUN"),
    "export": ("exporting", "write a model that runs without Unveil: unveil export RUN --to onnx"),
    "push": ("pushing", "put a run on the Hugging Face Hub: unveil push RUN OWNER/NAME"),
    "doctor": ("checks", "say what is wrong with a run or with data: unveil doctor RUN"),
    "verify": ("checks", "check a model's mathematics: unveil verify RUN"),
    "recipes": ("training", "list the ready-made compositions"),
}
"""Each command: the module of this package that has a function of its name, and what it does."""

USAGE = (
    "Unveil: variational autoencoders whose every number is a stated figure in nats.\n\n"
    "usage: unveil COMMAND ...\n\n"
    + "\n".join(f"  {name:13}{what}" for name, (_, what) in COMMANDS.items())
    + "\n\nRUN is a run folder, the name of a model that comes along, mnist or mnist-2d, or hf://OWNER/NAME on the hub."
    + "\nunveil COMMAND --help tells what a command takes; unveil --version tells the version."
)


def several() -> bool:
    """Whether whoever started this process started more than one, as torchrun does."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "1")


def _say(text: str) -> None:
    """A line for the person; of several processes one says it."""
    if several():
        from unveil.cli.ranks import is_to_say

        if not is_to_say():
            return
    print(text, file=sys.stderr, flush=True)
    if several():
        from unveil.training.ranks import joined

        joined().spoke()


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 2 for input that cannot be, 130 after Ctrl-C."""
    try:
        code = _answer((sys.argv[1:] if arguments is None else arguments) or ["--help"])
        if sys.stdout is not None:  # as where it was closed before
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read the output has gone: what is left of it goes nowhere, without a word
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _answer(arguments: list[str]) -> int:
    """The exit code of what was asked for."""
    name, *rest = arguments
    if name in ("--help", "-h", "help"):
        print(USAGE)
        return 0
    if name == "--version":
        from unveil.version import __version__

        print(__version__)
        return 0
    from unveil.errors import at_terminal

    with at_terminal():
        return _run(name, rest)


def _run(name: str, rest: list[str]) -> int:
    """The exit code of a command, whose errors become lines."""
    from unveil.errors import UnveilError, unknown

    try:
        if name not in COMMANDS:
            raise unknown("command", name, COMMANDS)
        if several():
            from unveil.cli.ranks import prepare

            prepare(name)
        module = import_module(f"unveil.cli.{COMMANDS[name][0]}")
        code: int = getattr(module, name.replace("-", "_"))(rest)
        return code
    except UnveilError as error:
        _say(f"unveil: {error}")
        return 2
    except KeyboardInterrupt:
        _say("unveil: stopped")
        return 130

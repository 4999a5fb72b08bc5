"""The command that serves a run over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, UseAppendAction, arg

from unveil.cli.common import CODES, start
from unveil.cli.parsing import parse
from unveil.cli.progress import say
from unveil.serving import require
from unveil.serving.limits import Limits

if TYPE_CHECKING:
    from unveil.serving.served import Served


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

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
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


def serve(arguments: list[str]) -> int:
    """`unveil serve`."""
    given = parse(Serve, "serve", arguments)
    require()
    start()
    limits = replace(Limits(), examples=given.examples, queue=given.queue, seconds=given.seconds)
    import unveil
    from unveil.serving.server import Binding, serve, token_from

    binding = Binding(given.host, given.port, given.allow_host, given.allow_origin, token_from(given.token_file))
    run = unveil.open(given.run)
    ready = partial(_ready, "" if binding.token is None else '-H "Authorization: Bearer TOKEN" ')
    by = serve(run, binding, limits, given.samples, not given.no_batching, given.threads, ready)
    if by is None:
        return 0
    say(f"stopped by {by}; everything that was asked is answered")
    return CODES[by]


def _ready(header: str, address: str, served: Served) -> None:
    facts = served.facts
    print(f"{facts.run}: {facts.recipe}, trained on {facts.data}; x: {facts.space}")
    for name, why in served.cannot.items():
        print(f"  without {name}: {why}")
    print(f"serving at {address}    {address}openapi.json describes it; Ctrl-C ends it")
    print(f'try: curl {address}sample {header}--json \'{{"n": 1, "seed": 0}}\'', flush=True)

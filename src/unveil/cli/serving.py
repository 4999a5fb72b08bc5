"""The command that serves a run over HTTP."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from unveil.cli import options
from unveil.cli.common import CODES, start
from unveil.cli.parsing import parse
from unveil.cli.progress import say
from unveil.serving import require
from unveil.serving.limits import Limits

if TYPE_CHECKING:
    from unveil.serving.served import Served


def serve(arguments: list[str]) -> int:
    """`unveil serve`."""
    given = parse(options.Serve, "serve", arguments)
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

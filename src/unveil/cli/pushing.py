"""The command that puts a run on the Hugging Face Hub."""

from __future__ import annotations

import sys

from unveil.cli import options
from unveil.cli.common import command, start
from unveil.cli.parsing import parse
from unveil.remote import require
from unveil.words import counted


def push(arguments: list[str]) -> int:
    """`unveil push`."""
    given = parse(options.Push, "push", arguments)
    require()
    start()
    import unveil
    from unveil.hub import push as pushed

    if not sys.stderr.isatty():  # the client's bars are for eyes
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
    made = pushed(
        unveil.open(given.run),
        given.repo,
        private=given.private,
        data=not given.no_data,
        revision=given.revision,
        message=given.message,
        license=given.license,
    )
    size = sum(made.files.values())
    print(f"{counted(len(made.files), 'file')} ({size / 1e6:.1f} MB) in {made.page}, commit {made.commit}")
    if made.of_data:
        print(f"of the data went with them: {'; '.join(made.of_data)}; --no-data leaves such things out")
    print(f"call it anywhere: {command()} sample {made.address} -n 16")
    return 0

"""The command that finds anomalies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unveil.cli import options
from unveil.cli.common import ending, open_run, require_parquet, save_table, start
from unveil.cli.numbers import lines
from unveil.cli.parsing import parse
from unveil.errors import SettingError
from unveil.words import counted

if TYPE_CHECKING:
    from unveil.data import Dataset, Split
    from unveil.evaluation.anomaly.scoring import Scores
    from unveil.run import Run

SHOWN = 20
"""Images on a sheet of maps."""


def score(arguments: list[str]) -> int:
    """`unveil score`."""
    given = parse(options.Score, "score", arguments)
    start()
    import numpy as np

    from unveil.data.dataset import ALL
    from unveil.evaluation.anomaly.scoring import score as scored

    ending(given.out, (".csv", ".parquet"))
    run, data = open_run(given.run, given.data, given.data_dir, given.out, given.maps, strangers=True)
    own = run.load_data(given.data_dir)
    name = given.split or ("test" if given.data is None else ALL)
    split = data.split(name)
    if given.maps is not None:
        ending(given.maps, (".png",))
        if not data.space.is_image:
            raise SettingError(f"{data.name} holds no images to draw maps of; leave --maps out")
    require_parquet(given.out)
    found = scored(
        run.model,
        split,
        own.validation,
        trained=own.train,
        statistic=given.by,
        fpr=given.fpr,
        samples=given.samples,
        seed=given.seed,
        data=data.name,
        strange=data.strange,
    )
    lines("", found.table(), found.advice())
    # a row has its number from its own source, of which MNIST has one for training and one for test images
    origins = np.array(data.origins() if name == ALL else [name] * len(split))
    named = {} if split.files is None else {"file": np.array(split.files, dtype=object)}
    noted = {"note": np.array([data.strange.get(row, "") for row in split.rows.tolist()], dtype=object)}
    columns = {"split": origins, **named, **found.columns(), **(noted if data.strange else {})}
    save_table(given.out, {name: column.tolist() for name, column in columns.items()})
    print(f"{counted(len(split), 'row')} in {given.out}: {', '.join(columns)}")
    if given.maps is not None:
        _draw(run, data, split, found, given.maps, given.seed)
    return 0


def _draw(run: Run, data: Dataset, split: Split, found: Scores, path: Path, seed: int) -> None:
    """The most anomalous images, each over its map."""
    from unveil import album
    from unveil.data import is_ink
    from unveil.evaluation.anomaly.surprise import surprise

    worst = split.subset(found.score.argsort(descending=True)[:SHOWN])
    maps = surprise(run.model, worst, seed=seed)
    album.maps(worst.fixed(seed) / data.space.white, maps.excess, path, ink=is_ink(data))
    print(f"the {counted(len(worst), 'most anomalous image')} over what in them surprises in {path}")

"""What of a run leaves the machine when it is pushed, file by file, and which of these hold something of the data.

Files have the names of a run folder, so that what is pushed is opened as one. What they say is read and written anew:
files and folders of this machine stand there by their last names alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from unveil.data.facts import homeless, places, travelling
from unveil.errors import RunError
from unveil.hub.card import CARD, Card
from unveil.pages import facts
from unveil.pages.shown import TEXTS, Shown, without_data
from unveil.part import carried, keep_home
from unveil.remote import Address
from unveil.remote.fetch import BESIDE, MANIFEST, WEIGHTS
from unveil.run import Run
from unveil.store import Reports, RunFolder
from unveil.store.files import as_json

File = bytes | Path
"""The content of a file, or where it is."""
OF_DATA = ("latent_plane", "reconstructions", "columns")
"""Pictures of a run folder that show something of single examples."""
EVER = (MANIFEST, WEIGHTS, *BESIDE, *(f"pictures/{name}.png" for name in TEXTS), CARD)
"""Every file that may be among those which leave."""


@dataclass(frozen=True)
class Leaving:
    """What leaves.

    Attributes:
        title: of the run, in a few words.
        files: by name.
        of_data: what of the data leaves with them, in words; empty for nothing of single examples.
    """

    title: str
    files: dict[str, File]
    of_data: tuple[str, ...]


def leaving(run: Run, repo: str, data: bool = True, license: str | None = None) -> Leaving:
    """What of a run leaves.

    Args:
        run: in a folder, with the weights that are there.
        repo: OWNER/NAME, where it goes to.
        data: whether pictures of examples, values of single examples, and weights that are made of some may go.
        license: under which the model is passed on; None where nothing is said of it.

    Raises:
        RunError: it has no folder, is unfinished, or has other weights than its folder.
        SettingError: no data may leave, and its weights hold some.
    """
    folder = _ended(run)
    if not data:
        keep_home(run.model, "which its weights hold")
    manifest = folder.manifest()
    known = places(manifest["data"])
    manifest = {**travelling(manifest, known), "data": homeless(manifest["data"])}
    shown = replace(run, manifest=manifest, origin=str(Address(repo)))
    about = facts(shown)
    files: dict[str, File] = {MANIFEST: as_json(manifest), WEIGHTS: folder.path / WEIGHTS}
    if not about.unevaluated:
        files |= _report(folder.path, known, data)
    files |= {name: path for name in BESIDE if name.endswith(".jsonl") and (path := folder.path / name).is_file()}
    examples = _with_data(folder) if data else []
    pictures = {_file(one): one for one in (*without_data(shown), *examples)}
    files |= {name: one.png for name, one in pictures.items()}
    held = _held(run, files, examples)
    report = None if about.unevaluated else shown.report()
    card = Card(repo, about, report, manifest, pictures, held, license)
    return Leaving(about.title, {**files, CARD: travelling(str(card), known).encode()}, held)


def _ended(run: Run) -> RunFolder:
    """The folder of a run whose training has ended, with the weights that it has now."""
    if run.path is None:
        raise RunError("a run without a folder cannot be pushed; train with out=..., or open one")
    weights = run.manifest["tensors"].get(WEIGHTS)
    if run.manifest.get("status") == "training" or weights is None:
        raise RunError(f"{run.name} is unfinished; end its training with --resume, and push it then")
    if run.weights() != weights:
        raise RunError(f"the weights are not those in {run.name} any more; open it anew, and push that")
    return RunFolder(run.path)


def _report(path: Path, known: list[str], data: bool) -> dict[str, File]:
    """Figures, and the values of single examples if those may leave."""
    kept = Reports(path)
    said, values = kept.read()
    said = travelling(said, known)
    if not data or not values:
        return {kept.figures.name: as_json({**said, "tensors": {}})}
    return {kept.figures.name: as_json(said), kept.values.name: kept.values}


def _with_data(folder: RunFolder) -> list[Shown]:
    """Pictures in the run folder that show examples."""
    return [
        Shown(name.replace("_", " "), path.read_bytes(), *TEXTS[name])
        for name in OF_DATA
        if (path := folder.pictures / f"{name}.png").is_file()
    ]


def _file(picture: Shown) -> str:
    """What the file of a picture is called."""
    return f"pictures/{picture.name.replace(' ', '_')}.png"


def _held(run: Run, files: dict[str, File], examples: list[Shown]) -> tuple[str, ...]:
    """What of the data leaves, in words."""
    said = [f"{held} in the weights" for held in carried(run.model)]
    if examples:
        said.append(f"pictures of examples ({', '.join(one.name for one in examples)})")
    if "report.safetensors" in files:
        said.append("the nats of each test example by its row (report.safetensors)")
    return tuple(said)

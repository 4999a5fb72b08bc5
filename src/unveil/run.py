"""A run: a trained model and where it came from, as training gives it and `open` finds it again."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import unveil.models
import unveil.networks
import unveil.objectives
import unveil.parts
from unveil.data import Dataset, Field, load_again
from unveil.errors import DataError, RunError, SettingError
from unveil.evaluation import Report, Watcher, report
from unveil.evaluation.kept import recall
from unveil.evaluation.likelihood.contender import WEIGHTED, Contender
from unveil.evaluation.names import cost_name
from unveil.models import Model
from unveil.objectives import Term
from unveil.preflight import check
from unveil.store import Ledger, Reports, RunFolder, build, digest, fill, size
from unveil.training.average import state_of

log = logging.getLogger(__name__)

KNOWN: dict[str, type[nn.Module]] = {
    name: kind
    for package in (unveil.networks, unveil.parts, unveil.models, unveil.objectives)
    for name in package.__all__
    if isinstance(kind := getattr(package, name), type) and issubclass(kind, nn.Module)
}
"""The parts that a run folder may name."""
COMPARED = ("nll", "quadrature", "neg_elbo", "distortion")
"""Values of images by which runs can be compared, where a run has them."""


@dataclass
class Run:
    """A trained model, and where it came from.

    Attributes:
        model: the generative model: `run.model.sample(64)`.
        objective: what it was trained on.
        manifest: what run.json says, or would say.
        path: the run folder; None where nothing was written.
        data: what it was trained on; None where it was opened from a folder and not yet asked for.
    """

    model: Model
    objective: Term
    manifest: dict[str, Any]
    path: Path | None = None
    data: Dataset | None = None

    def __repr__(self) -> str:
        said = {name: self.manifest.get(name) for name in ("recipe", "status")}
        data = self.manifest.get("data", {}).get("name")
        return f"Run(path={str(self.path)!r}, recipe={said['recipe']!r}, data={data!r}, status={said['status']!r})"

    def load_data(self, data_dir: str | Path | None = None) -> Dataset:
        """The data that it was trained on, loaded anew if need be.

        Raises:
            DataError: they cannot be found, or are not the same any more.
        """
        if self.data is None:
            facts = self.manifest["data"]
            if not facts["loadable"]:
                raise DataError(f"this run was trained on {facts['name']} in memory; hand the data over")
            data = load_again(facts, data_dir)
            if data.fingerprint != facts["fingerprint"]:
                raise DataError(
                    f"{facts['name']} is not what this run was trained on: fingerprint {data.fingerprint[:12]} "
                    f"instead of {facts['fingerprint'][:12]}; name the data to use"
                )
            self.data = self.suited(data)
        return self.data

    def suited(self, data: Dataset) -> Dataset:
        """Data as this model is to see them: with their labels where it is conditioned on those.

        A semi-supervised model sees as many of the training split as it was trained with, and none of the others.

        Raises:
            DataError: it needs labels that the data do not have, or of another number of classes.
        """
        facts = self.manifest["data"]
        classes, known = facts.get("classes", 0), facts.get("known")
        if not classes or data.train.context is not None or (known is not None and data.train.labels is None):
            return data
        given = data.given_labels(known)
        assert given.train.context is not None
        if given.train.context.shape[1] != classes:
            raise DataError(
                f"the model is conditioned on {classes} classes, and {data.name} has {given.train.context.shape[1]}; "
                "take data with the same classes"
            )
        return given

    @property
    def columns(self) -> tuple[Field, ...]:
        """Of the table that it was trained on, each with its name; empty for other data."""
        return tuple(Field(**{**one, "words": tuple(one["words"])}) for one in self.manifest["data"].get("columns", []))

    def context(self, label: int | None, n: int) -> Tensor | None:
        """(n, C) what to give a conditional model so that it makes `n` x of class `label`, or of all classes in turn.

        Raises:
            SettingError: no such class, or a model that is conditioned on nothing.
        """
        classes = self.manifest["data"].get("classes", 0)
        if not classes:
            if label is not None:
                raise SettingError("this model is conditioned on nothing, so it has no labels; leave --label out")
            return None
        if label is not None and not 0 <= label < classes:
            raise SettingError(f"there is no class {label}; the model knows 0 to {classes - 1}")
        chosen = torch.arange(n) % classes if label is None else torch.full((n,), label)
        return nn.functional.one_hot(chosen, classes).float()

    def evaluate(
        self,
        data: Dataset | None = None,
        *,
        split: str = "test",
        samples: int = 500,
        images: int | None = None,
        seed: int = 0,
        also: Iterable[str] = (),
        defensive: float = 0.0,
        watcher: Watcher | None = None,
    ) -> Report:
        """Its report card on a split, also written to report.json where there is a run folder.

        Nats that were stopped go on where they were when they are asked for again; sections begin anew.

        Args:
            data: other data than it was trained on, in the same space.
            split: which split.
            samples: K, draws of z for each image.
            images: how many images; None for all.
            seed: of binarisation, noise and subset.
            also: sections beside the nats; `unveil.evaluation.SECTIONS` has their names.
            defensive: share of the draws that do not come from the encoder, for what it misses; see `evaluation.evaluate`.
            watcher: told the forecast and the progress.
        """
        data = self.suited(data) if data is not None else self.load_data()
        check(self.model, data)
        weights = digest(state_of(nn.ModuleDict({"model": self.model, "objective": self.objective})))
        path = self.path
        if path is not None and weights != self.manifest["tensors"]["model.safetensors"]:
            log.warning("the weights are not those in %s any more; their figures are not kept there", path)
            path = None
        ledger = None if path is None else Ledger(path)
        asked: dict[str, Any] = {
            "samples": samples,
            "images": images,
            "seed": seed,
            "defensive": defensive,
            "watcher": watcher,
        }
        found = report(self.model, data, split, also, ledger=ledger, identity=weights, **asked)
        if path is not None and ledger is not None:
            try:
                Reports(path).write({**found.as_dict(), "weights": weights}, found.values)
                ledger.close()
                return replace(found, kept=Reports(path).figures)
            except RunError as error:
                log.warning("%s; the figures are not kept", error)
        return found

    def contender(self, figure: str = "nll") -> Contender:
        """Its values of each image as it was last evaluated, to be compared with those of other runs.

        Args:
            figure: 'nll', 'neg_elbo', 'distortion', or 'quadrature' where the report has that section.

        Raises:
            RunError: it was not evaluated, or the report is damaged or of other weights.
            SettingError: it has no such figure.
        """
        if self.path is None:
            raise RunError("a run without a folder keeps no report; train with out=..., and evaluate")
        said, values = self._kept(self.path)
        if figure not in values:
            had = ", ".join(name for name in COMPARED if name in values)
            hint = "evaluate it with that section, or " if figure == "quadrature" else ""
            raise SettingError(f"{self.path} has no {figure}; {hint}compare by one of {had}")
        bound = cost_name(said["normalised"])
        names = {"nll": WEIGHTED, "quadrature": "-log p(x), the integral", "neg_elbo": bound}
        return Contender(
            name=str(self.path),
            values=values[figure],
            quantity=names.get(figure, figure),
            samples=said["samples"],
            rows=values["row"].long(),
            split=said["split"],
            fingerprint=said["fingerprint"],
            reading=said["reading"],
            read_by=said["read_by"],
            normalised=said["normalised"],
            told=said["told"],
            few=said["few"] if figure == "nll" else None,
            defensive=said.get("defensive", 0.0),
        )

    def report(self) -> Report:
        """Its report card as it was last evaluated.

        Raises:
            RunError: it was not evaluated, or the report is damaged, of an older version or of other weights.
        """
        if self.path is None:
            raise RunError("a run without a folder keeps no report; train with out=..., and evaluate")
        said, values = self._kept(self.path)
        kept = Reports(self.path).figures
        try:
            return replace(recall(said, values), kept=kept)
        except RunError as error:
            raise RunError(f"{kept} is damaged, or of an older version: {error}; evaluate anew") from None

    def _kept(self, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What the report in its folder says of these very weights."""
        said, values = Reports(path).read()
        if said.get("weights") != self.manifest["tensors"]["model.safetensors"]:
            raise RunError(f"the report in {path} is of other weights; evaluate anew")
        return said, values

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl: a record for each epoch."""
        return [] if self.path is None else RunFolder(self.path).lines("metrics.jsonl")

    def timing(self) -> list[dict[str, Any]]:
        """The lines of timing.jsonl: when each epoch had ended."""
        return [] if self.path is None else RunFolder(self.path).lines("timing.jsonl")


def open(path: str | Path, parts: Iterable[type[nn.Module]] = ()) -> Run:
    """Open a run folder.

    Args:
        path: the folder.
        parts: classes of your own that the model is made of; a file never names an import.

    Raises:
        RunError: no run folder, a damaged or unfinished one, or one that needs parts which are not known.
    """
    folder = RunFolder(Path(path))
    manifest = folder.manifest()
    known = dict(KNOWN)
    for part in parts:
        if part.__name__ in KNOWN:
            raise SettingError(f"there is a part named {part.__name__} already; give yours another name")
        known[part.__name__] = part
    modules = build(manifest.get("spec"), known)
    if set(modules) != {"model", "objective"}:
        raise RunError(f"{path} is damaged: its spec has no model and objective")
    both = nn.ModuleDict(modules)
    fill(both, folder.model(size(both)), str(folder.path / "model.safetensors"))
    model, objective = modules["model"].eval(), modules["objective"].eval()
    if not isinstance(model, Model) or not isinstance(objective, Term):
        raise RunError(f"{path} is damaged: its spec describes a {type(model).__name__} as its model")
    return Run(model, objective, manifest, folder.path)

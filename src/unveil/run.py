"""A run: a trained model and where it came from, as training gives it and `open` finds it again (`opening.py`)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unveil.data import Dataset, Field, load_again
from unveil.data.facts import short
from unveil.errors import DataError, RunError, SettingError
from unveil.evaluation import Report, Watcher, report
from unveil.evaluation.kept import recall
from unveil.evaluation.likelihood.contender import WEIGHTED, Contender
from unveil.evaluation.names import cost_name
from unveil.models import Model
from unveil.objectives import Term
from unveil.preflight import check
from unveil.store import OWN, Ledger, Reports, RunFolder, digest, name_of, packed
from unveil.training.average import state_of
from unveil.words import counted

log = logging.getLogger(__name__)

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
        origin: what commands call it where its folder is not the user's own, as of a model that came with the package:
            nothing is written there. Empty where it is.
    """

    model: Model
    objective: Term
    manifest: dict[str, Any]
    path: Path | None = None
    data: Dataset | None = None
    origin: str = ""

    @property
    def name(self) -> str:
        """What commands call it: its folder, or where it came from."""
        return self.origin or ("RUN" if self.path is None else str(self.path))

    @property
    def short_name(self) -> str:
        """The same for others to read: where a folder lies is nobody else's business."""
        return self.origin or short("RUN" if self.path is None else str(self.path.absolute()))

    def __repr__(self) -> str:
        said = {name: self.manifest.get(name) for name in ("recipe", "status")}
        data = self.manifest.get("data", {}).get("name")
        place = None if self.path is None else self.name
        return f"Run(path={place!r}, recipe={said['recipe']!r}, data={data!r}, status={said['status']!r})"

    def load_data(self, data_dir: str | Path | None = None) -> Dataset:
        """The data that it was trained on, loaded anew if need be.

        Raises:
            DataError: they cannot be found, or are not the same any more.
        """
        if self.data is None:
            facts = self.manifest["data"]
            if not facts["loadable"]:
                raise DataError(
                    f"this run was trained on {facts['name']} in memory; hand the data over, as run.evaluate(data) in "
                    "Python, or name a file or folder that holds them"
                )
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
                f"the model is conditioned on {counted(classes, 'class', 'classes')}, and {data.name} has "
                f"{given.train.context.shape[1]}; "
                "take data with the same classes"
            )
        return given

    @property
    def told(self) -> bool:
        """Whether the model is given the label of each example, and can do nothing without."""
        facts = self.manifest["data"]
        return bool(facts.get("classes", 0)) and facts.get("known") is None

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

    def sample(self, n: int, label: int | None = None, seed: int | None = None, mean: bool = False) -> Tensor:
        """(n, *event) x ~ p(x|z) with z ~ p(z): what the model makes by itself.

        Args:
            n: how many.
            label: which class, where the model is conditioned on labels; without it, all of them in turn.
            seed: the same seed gives the same samples; None for fresh ones.
            mean: give E[x|z], which is smoother to look at, instead of x.

        Raises:
            SettingError: no such class, or a model that is conditioned on nothing.

        Example:
            >>> import unveil
            >>> run = unveil.pretrained("mnist-2d")
            >>> bool((run.sample(4, seed=0) == run.sample(4, seed=0)).all())
            True
        """
        return self.model.sample(n, self.context(label, n), seed=seed, mean=mean)

    def evaluate(
        self,
        data: Dataset | None = None,
        *,
        split: str | None = None,
        samples: int = 500,
        images: int | None = None,
        seed: int = 0,
        also: Iterable[str] = (),
        defensive: float = 0.0,
        watcher: Watcher | None = None,
    ) -> Report:
        """Its report card on a split, also kept where there is a run folder: in report.json for its own test split.

        What is found on another split, or on other data, has a file of its own there, which the report names as `kept`.
        Nats that were stopped go on where they were when they are asked for again; sections begin anew.

        Args:
            data: other data than it was trained on, in the same space.
            split: which split; None for test, or validation, which has chosen the weights, of data that have no test rows.
            samples: K, draws of z for each image.
            images: how many images; None for all.
            seed: of binarisation, noise and subset.
            also: sections beside the nats; `unveil.evaluation.SECTIONS` has their names.
            defensive: share of the draws that do not come from the encoder, for what it misses; see `evaluation.evaluate`.
            watcher: told the forecast and the progress.

        Raises:
            DataError: the data are not at hand, or hold no rows in that split.

        Example:
            >>> import unveil
            >>> run = unveil.train("digits", epochs=1, out="runs/judged")
            >>> report = run.evaluate(samples=50, images=100)
            >>> report.nll.value < report.neg_elbo.value  # nats, each with its stderr and n
            True
        """
        data = self.suited(data) if data is not None else self.load_data()
        split = split or ("test" if len(data.test) else "validation")
        if not len(data.split(split)):
            raise DataError(f"{data.name} has no rows in its {split} split; name another, or give other data")
        check(self.model, data)
        weights = self.weights()
        path = None if self.origin else self.path
        ended = self._ended
        if path is not None and not (ended and weights == self.manifest["tensors"].get("model.safetensors")):
            said = "the weights are not those in %s any more" if ended else "%s is unfinished"
            log.warning(f"{said}; figures are not kept there", path)
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
                kept = Reports(path, self._report_name(data, split))
                kept.write({**found.as_dict(), "weights": weights}, found.values)
                ledger.close()
                return replace(found, kept=kept.figures)
            except RunError as error:
                log.warning("%s; the figures are not kept", error)
        return found

    def weights(self) -> str:
        """The SHA-256 of its weights as they are now, as its folder would hold them."""
        state = state_of(nn.ModuleDict({"model": self.model, "objective": self.objective}))
        return digest(packed(state, self.manifest))

    def _report_name(self, data: Dataset, split: str) -> str:
        own = data.fingerprint == self.manifest["data"]["fingerprint"]
        return name_of(split) if own else name_of(split, data.name, data.fingerprint)

    def contender(self, figure: str = "nll", report: str = OWN) -> Contender:
        """Its values of each image as it was last evaluated, to be compared with those of other runs.

        Args:
            figure: 'nll', 'neg_elbo', 'distortion', or 'quadrature' where the report has that section.
            report: the file that was `kept`, without its folder and ending, where it is not of its own test split.

        Raises:
            RunError: it was not evaluated, or the report is damaged or of other weights.
            SettingError: it has no such figure.
        """
        kept, said, values = self._kept(report)
        if not values:
            raise RunError(
                f"the report of {self.name} came without the values of single examples, by which runs are compared; have "
                "it pushed without --no-data"
            )
        if figure not in values:
            had = ", ".join(name for name in COMPARED if name in values)
            hint = "evaluate it with that section, or " if figure == "quadrature" else ""
            raise SettingError(f"{self.name} has no {figure}; {hint}compare by one of {had}")
        bound = cost_name(said["normalised"])
        names = {"nll": WEIGHTED, "quadrature": "-log p(x), the integral", "neg_elbo": bound}
        return Contender(
            name=self.name if report == OWN else str(kept.figures),
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
        kept, said, values = self._kept(OWN)
        try:
            return replace(recall(said, values), kept=kept.figures)
        except RunError as error:
            raise RunError(f"{kept.figures} is damaged, or of an older version: {error}; evaluate anew") from None

    @property
    def _ended(self) -> bool:
        """Whether its training came to an end, so that its weights stay what they are."""
        return self.manifest.get("status") in ("finished", "diverged")

    def _kept(self, name: str) -> tuple[Reports, dict[str, Any], dict[str, Tensor]]:
        """The report of that name in its folder, and what it says of these very weights."""
        if self.path is None:
            raise RunError("a run without a folder keeps no report; train with out=..., and evaluate")
        if not self._ended:
            raise RunError(f"{self.name} is unfinished, and keeps no figures; end its training with --resume, and evaluate")
        kept = Reports(self.path, name)
        if self.origin and not kept.figures.is_file():
            raise RunError(f"{self.origin} came without a report; `unveil evaluate {self.origin}` prints one")
        said, values = kept.read()
        if said.get("weights") != self.manifest["tensors"].get("model.safetensors"):
            raise RunError(f"{kept.figures} is of other weights; evaluate anew")
        return kept, said, values

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl: a record for each epoch."""
        return [] if self.path is None else RunFolder(self.path).lines("metrics.jsonl")

    def timing(self) -> list[dict[str, Any]]:
        """The lines of timing.jsonl: when each epoch had ended."""
        return [] if self.path is None else RunFolder(self.path).lines("timing.jsonl")

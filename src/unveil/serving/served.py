"""What is served: a run, and what its model can be asked for, found out by asking it once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from unveil.data import Batch, Field, Space
from unveil.data.facts import short
from unveil.errors import RunError, SettingError, UnveilError
from unveil.evaluation import in_evaluation
from unveil.evaluation.likelihood.contender import WEIGHTED
from unveil.evaluation.likelihood.drawing import NUMBERS, ROWS
from unveil.evaluation.likelihood.nats import COUNTED
from unveil.models import Model
from unveil.models.vae import CHUNK  # more samples than this are drawn in parts
from unveil.run import Run
from unveil.serving.batching import Kind
from unveil.serving.limits import Limits
from unveil.serving.together import Piece, Together, Work
from unveil.serving.work import Decode, Encode, Reconstruct, Sample, Score
from unveil.store import Reports

log = logging.getLogger(__name__)

FIGURES = {"nll": "-log p(x), importance-weighted", "neg_elbo": "-ELBO", "distortion": "distortion", "rate": "rate"}
"""Figures of a report that are told, where there is one."""


@dataclass(frozen=True)
class Facts:
    """What a run says of its data.

    Attributes:
        recipe: name of the composition.
        run: name of the folder.
        data: name of what it was trained on.
        attribution: whose data these are.
        space: of x.
        columns: of a table.
        classes: of a conditional model; 0 for others.
        class_names: of these; empty where they have none.
        needs_label: whether nothing can be told of x or z without a label.
        fit: how an image of another shape is brought to that of x.
    """

    recipe: str
    run: str
    data: str
    attribution: str
    space: Space
    columns: tuple[Field, ...]
    classes: int
    class_names: tuple[str, ...]
    needs_label: bool
    fit: str

    @classmethod
    def of(cls, run: Run) -> Facts:
        """Read off the manifest."""
        said = run.manifest["data"]
        kinds = tuple(field.kind for field in run.columns)
        space = Space(tuple(said["shape"]), said["measure"], said.get("levels", 256), kinds)
        return cls(
            recipe=str(run.manifest.get("recipe") or "own"),
            run="" if run.path is None else run.short_name,
            data=short(str(said["name"])),
            attribution=str(said.get("attribution", "")),
            space=space,
            columns=run.columns,
            classes=said.get("classes", 0),
            class_names=tuple(said.get("class_names", ())),
            needs_label=run.told,
            fit=said.get("options", {}).get("fit", "crop"),
        )

    @property
    def takes_images(self) -> bool:
        """Whether the bytes of an image are x."""
        return self.space.is_image and (self.space.measure != "levels" or self.space.levels == 256)

    def likeness(self) -> Tensor:
        """(1, *event) an x of this space. 1 is admitted by every kind of column, and 0 by everything else."""
        return torch.full((1, *self.space.shape), 1.0 if self.columns else 0.0)


class Served:
    """A run and the kinds of work that its model can do.

    Args:
        run: opened.
        limits: of requests.
        samples: K, draws of z for each x that is scored.

    Attributes:
        kinds: by name; 'sample' and 'mean', and of 'encode', 'decode', 'reconstruct' and 'score' those that it can do.
        cannot: by name, why not the others.
        latent: the shape of z; None where x cannot be encoded.
        gaps: whether x may have gaps.
        quantity: what nats are without a label, where x can be scored.

    Raises:
        SettingError: there cannot be so many draws, or the model cannot be called.
    """

    def __init__(self, run: Run, limits: Limits, samples: int) -> None:
        self.run, self.limits, self.samples, self.facts = run, limits, samples, Facts.of(run)
        if not 1 <= samples <= ROWS:
            raise SettingError(f"{samples} draws cannot score an x; give 1 to {ROWS:,} --samples")
        self.kinds: dict[str, Kind] = {}
        self.cannot: dict[str, str] = {}
        self.latent: tuple[int, ...] | None = None
        self.gaps = bool(self.facts.columns) and self._reads_gaps()
        self._ask(run.model)

    @property
    def most(self) -> int:
        """Examples in one request."""
        return self.limits.of(self.facts.space.size)

    def context(self, label: int | None, count: int) -> Tensor | None:
        """(count, C) what the model is told of as many examples."""
        if label is None:
            return None
        return nn.functional.one_hot(torch.full((count,), label), self.facts.classes).float()

    def quantity_of(self, label: int | None) -> str:
        """What nats are, of a model that is told the class or is not: of x given y, or, where it has a p(y), of both."""
        if label is None or self.quantity != WEIGHTED:
            return self.quantity
        return "-log p(x|y)" if self.facts.needs_label else "-log p(x, y)"

    def _ask(self, model: Model) -> None:
        """Find out what the model can do, and whether requests for it can be joined."""
        label = self.context(0, 1) if self.facts.classes else None
        x = self.facts.likeness()
        block = max(1, min(ROWS, NUMBERS // self.facts.space.size) // self.samples)
        self._try("sample", Sample(model, counted=self.facts.space.measure in COUNTED), {"context": label})
        self._try("mean", Sample(model, mean=True), {"context": label})
        for name in ("sample", "mean"):
            if name in self.cannot:
                raise SettingError(f"this model cannot be called: {self.cannot[name]}; train it anew")
        z = self._try("encode", Encode(model), {"x": x, "context": label}).get("mean")
        if z is None:
            self.cannot["decode"] = self.cannot["encode"]
        else:
            self.latent = tuple(z.shape[1:])
            self._try("decode", Decode(model), {"z": z, "context": label})
        self._try("reconstruct", Reconstruct(model), {"x": x, "context": label})
        scoring = Score(model, self.samples)
        self._try("score", scoring, {"x": x, "context": label}, self.samples, block)
        self.quantity = scoring.quantity

    def _try(
        self, name: str, work: Work, given: Mapping[str, Tensor | None], draws: int = 1, rows: int | None = None
    ) -> Mapping[str, Tensor]:
        """What work gives for an example; one that fails is not served."""
        piece, together = Piece(1, 0, given), Together(work, draws)
        try:
            found = work(piece)
            if not together.joins(piece):
                log.warning("requests to %s cannot be joined for this model; they are answered one by one", name)
        except (UnveilError, NotImplementedError, RuntimeError, ValueError) as error:
            self.cannot[name] = (str(error).splitlines() or [type(error).__name__])[0]
            return {}
        self.kinds[name] = Kind(name, together, rows or min(self.most, CHUNK))
        return found

    @torch.no_grad()
    def _reads_gaps(self) -> bool:
        """Whether an x of which nothing is known has nats."""
        x = torch.full((1, *self.facts.space.shape), torch.nan)
        label = self.context(0, 1) if self.facts.classes else None
        with in_evaluation(self.run.model):
            device = next(self.run.model.parameters()).device
            batch = Batch(x, torch.full((1,), -1), 1, context=label).to(device)
            return bool(self.run.model.draw(batch).log_px.isfinite().all())

    def figures(self) -> list[dict[str, Any]]:
        """What the report in the run folder says of these weights, if it does."""
        try:
            said = {} if self.run.path is None else Reports(self.run.path).read()[0]
        except RunError:
            return []
        if said.get("weights") != self.run.manifest["tensors"].get("model.safetensors"):
            return []
        exact = said.get("sections", {}).get("quadrature", {}).get("nll")
        known = {**{words: said.get(name) for name, words in FIGURES.items()}, "-log p(x), integrated over z": exact}
        told = {words: one for words, one in known.items() if isinstance(one, dict)}
        return [
            {
                "name": words,
                **{part: one.get(part) for part in ("value", "stderr", "n", "unit")},
                "split": said.get("split"),
            }
            for words, one in told.items()
            if all(isinstance(one.get(part), (int, float)) and isfinite(one[part]) for part in ("value", "stderr", "n"))
        ]

    def overview(self) -> dict[str, Any]:
        """What is served, for whoever asks."""
        facts, space = self.facts, self.facts.space
        return {
            "run": facts.run,
            "recipe": facts.recipe,
            "data": facts.data,
            "attribution": facts.attribution,
            "x": str(space),
            "shape": list(space.shape),
            "measure": space.measure,
            "columns": [field.name for field in facts.columns],
            "latent": None if self.latent is None else list(self.latent),
            "classes": list(facts.class_names) or list(range(facts.classes)),
            "parameters": sum(one.numel() for one in self.run.model.parameters()),
            "figures": self.figures(),
            "samples": self.samples,
            "most": self.most,
            "cannot": self.cannot,
        }

"""What a report can have beside the nats: each section by its name, and what of the subject it looks at.

Whoever adds one writes a function from a subject to a record with `table()` and `advice()`, and puts it into `SECTIONS`.
Modules are imported where a section is asked for, since some of them bring in scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from unveil.data import Dataset, Split
from unveil.evaluation.watching import Watcher
from unveil.models import Model


class Section(Protocol):
    """A part of a report: a dataclass of figures and plain data."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def table(self) -> list[tuple[str, str]]:
        """Names and figures, as the terminal prints them."""
        ...

    def advice(self) -> list[str]:
        """What a reader of the figures should know or do."""
        ...


@dataclass(frozen=True)
class Subject:
    """What a section is about.

    Attributes:
        model: trained.
        data: as the model is to see them; what is fitted for a section is fitted on its training split.
        split: which split the figures are of, whole.
        images: how many of its images the nats are of, as a function of `seed`; None for all.
        seed: of everything random.
        watcher: told how long what is costly will take.
    """

    model: Model
    data: Dataset
    split: Split
    images: int | None
    seed: int
    watcher: Watcher | None = None


ANNEALED, SIMULATED, REFINED, MIXED = 32, 16, 200, 10_000
"""Images that what is costly is done for, unless fewer are asked for: each is a minute or two for MNIST on 2 cores."""


def _most(subject: Subject, most: int) -> int:
    return most if subject.images is None else min(most, subject.images)


def _costly(subject: Subject, most: int) -> dict[str, Any]:
    return {"images": _most(subject, most), "seed": subject.seed, "watcher": subject.watcher}


def _quadrature(subject: Subject) -> Section:
    from unveil.evaluation.likelihood.quadrature import quadrature

    return quadrature(subject.model, subject.split, data=subject.data.name, images=subject.images, seed=subject.seed)


def _annealing(subject: Subject) -> Section:
    from unveil.evaluation.likelihood.annealed import annealed

    return annealed(subject.model, subject.split, **_costly(subject, ANNEALED))


def _sandwich(subject: Subject) -> Section:
    from unveil.evaluation.likelihood.bidirectional import bidirectional

    n = _most(subject, SIMULATED)
    context = subject.split.sample(n, subject.seed).context
    count = n if context is None else len(context)
    return bidirectional(subject.model, n=count, context=context, seed=subject.seed, watcher=subject.watcher)


def _gaps(subject: Subject) -> Section:
    from unveil.evaluation.likelihood.gaps import gaps

    return gaps(subject.model, subject.split, data=subject.data.name, **_costly(subject, REFINED))


def _aggregate(subject: Subject) -> Section:
    from unveil.evaluation.latent.aggregate import aggregate

    images = _most(subject, MIXED)
    return aggregate(subject.model, subject.split, data=subject.data.name, images=images, seed=subject.seed)


def _latent(subject: Subject) -> Section:
    from unveil.evaluation.latent.space import latent_space

    data = subject.data
    return latent_space(subject.model, subject.split, data.train, data=data.name, images=subject.images, seed=subject.seed)


def _factors(subject: Subject) -> Section:
    from unveil.evaluation.latent.disentanglement import disentanglement

    return disentanglement(subject.model, subject.data, subject.split.name, subject.seed)


def _samples(subject: Subject) -> Section:
    from unveil.evaluation.samples.quality import quality

    return quality(subject.model, subject.data, split=subject.split.name, seed=subject.seed)


def _memory(subject: Subject) -> Section:
    from unveil.evaluation.samples.memory import memory

    return memory(subject.model, subject.data, split=subject.split.name, seed=subject.seed)


SECTIONS: dict[str, Callable[[Subject], Section]] = {
    "quadrature": _quadrature,
    "annealing": _annealing,
    "sandwich": _sandwich,
    "gaps": _gaps,
    "aggregate": _aggregate,
    "latent": _latent,
    "factors": _factors,
    "samples": _samples,
    "memory": _memory,
}
"""What can be asked for, in the order of a report."""

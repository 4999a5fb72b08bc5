"""A report made again from what report.json says, so that whoever shows it later says what the terminal said then.

Records are rebuilt by the types of their fields, and anything of another type is refused: a file is input like any other.
A number that is none was written as null, and is NaN again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from math import nan
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from unveil.errors import RunError
from unveil.evaluation.likelihood.nats import Nats
from unveil.evaluation.report import Report
from unveil.evaluation.sections import Section


def kinds() -> dict[str, type[Section]]:
    """The record of each section, by the section's name."""
    from unveil.evaluation.latent.aggregate import Aggregate
    from unveil.evaluation.latent.disentanglement import Disentanglement
    from unveil.evaluation.latent.space import LatentSpace
    from unveil.evaluation.likelihood.annealed import Annealed
    from unveil.evaluation.likelihood.bidirectional import Bidirectional
    from unveil.evaluation.likelihood.gaps import Gaps
    from unveil.evaluation.likelihood.quadrature import Quadrature
    from unveil.evaluation.samples.memory import Memory
    from unveil.evaluation.samples.quality import Quality

    return {
        "quadrature": Quadrature,
        "annealing": Annealed,
        "sandwich": Bidirectional,
        "gaps": Gaps,
        "aggregate": Aggregate,
        "latent": LatentSpace,
        "factors": Disentanglement,
        "samples": Quality,
        "memory": Memory,
    }


def recall(said: Mapping[str, Any], values: Mapping[str, Tensor]) -> Report:
    """The report whose `as_dict` was `said`.

    Args:
        said: what report.json says.
        values: of each image, as `Report.values` had them.

    Raises:
        RunError: it says something else than a report of this version does.
    """
    own = {name: value for name, value in values.items() if name != "quadrature"}
    nats = _made(Nats, {**said, "values": own}, "nats")
    known, sections = kinds(), said.get("sections")
    if not isinstance(sections, Mapping) or set(sections) - set(known):
        raise RunError(f"its sections are not among {', '.join(known)}")
    extra = {"quadrature": {"values": values.get("quadrature", torch.empty(0))}}
    made = {
        name: _made(known[name], _joined(said_of, extra.get(name, {}), name), name) for name, said_of in sections.items()
    }
    return Report(nats, made, _made(dict[str, str], said.get("refused"), "refused"))


def _joined(said: Any, extra: Mapping[str, Any], place: str) -> dict[str, Any]:
    if not isinstance(said, Mapping):
        raise RunError(f"{place} is no record")
    return {**said, **extra}


def _made(kind: Any, said: Any, place: str) -> Any:
    """What `said` is as a `kind`; `place` is where it stands, for the error."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if said is None and NoneType in inner else _made(_present(inner), said, place)
    if is_dataclass(kind):
        return _record(kind, said, place)
    if origin is tuple and isinstance(said, list):
        each = (inner[0],) * len(said) if inner[1:] == (...,) else inner
        if len(each) == len(said):
            return tuple(_made(one, value, place) for one, value in zip(each, said, strict=True))
    if origin is dict and isinstance(said, Mapping):
        return {_made(inner[0], name, place): _made(inner[1], value, place) for name, value in said.items()}
    if kind is float and (said is None or type(said) in (int, float)):
        return nan if said is None else float(said)
    if kind in (int, bool, str, Tensor) and type(said) is kind:
        return said
    raise RunError(f"{place} says {str(said)[:40]!r}")


def _present(kinds: tuple[Any, ...]) -> Any:
    return next(kind for kind in kinds if kind is not NoneType)


def _record(kind: Any, said: Any, place: str) -> Any:
    if not isinstance(said, Mapping):
        raise RunError(f"{place} is no record")
    hints, made = get_type_hints(kind), {}
    for field in fields(kind):
        hint, name = hints[field.name], f"{place}: {field.name}"
        if field.name in said:
            made[field.name] = _made(hint, said[field.name], name)
        elif NoneType in get_args(hint):  # an older version knew no such figure
            made[field.name] = None
        elif field.default is MISSING:
            raise RunError(f"{name} is missing")
    return kind(**made)

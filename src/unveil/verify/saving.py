"""The saved form: a model that was described, built and filled anew is the same model."""

from __future__ import annotations

import json

import torch
from torch import Tensor, nn

from unveil.errors import UnveilError
from unveil.models import Model
from unveil.objectives import Term
from unveil.store import build, describe, fill
from unveil.training.average import state_of
from unveil.verify.check import Gap, Law, fact
from unveil.verify.subject import Subject, told

SAMPLES = 32
"""Samples that are compared."""


def saved(subject: Subject) -> list[Gap]:
    """Samples, weights, losses and buffers before and after."""
    # a prior that was fitted, exemplars and codebooks are state as much as weights are
    own = nn.ModuleDict({"model": subject.model, "objective": subject.objective})
    try:
        spec = json.loads(json.dumps(describe(model=subject.model, objective=subject.objective)))
        made = build(spec, subject.known)
        both = nn.ModuleDict(made)
        fill(both, {name: value.clone() for name, value in state_of(own).items()}, "the saved form")
    except UnveilError as error:
        return [fact(f"the model can be saved: {error}", False)]
    both.eval()
    model, objective = both["model"], both["objective"]
    assert isinstance(model, Model)
    assert isinstance(objective, Term)
    gaps = [_same("state", _flat(own), _flat(both))]
    before, after = (_made(subject, m, o) for m, o in ((subject.model, subject.objective), (model, objective)))
    return gaps + [_same(name, before[name], after[name]) for name in before]


def _made(subject: Subject, model: Model, objective: Term) -> dict[str, Tensor]:
    """What a model makes that a person may compare."""
    found = {"samples of a seed": model.sample(SAMPLES, subject.context(SAMPLES), seed=5)}
    subject.reseed("saved")
    draw = model.draw(subject.batch, objective.samples or 1, objective.gradient or "pathwise")
    found["log p(x|z) of a seed"] = draw.log_px.detach()
    if draw.rated:
        found["log importance weights of a seed"] = draw.log_w.detach()
    found["losses of a seed"] = told(objective(draw, model, torch.tensor(0.0))).detach()
    return found


def _flat(module: nn.Module) -> Tensor:
    """All of its state in one vector, by name."""
    state = state_of(module)
    return torch.cat([state[name].detach().double().flatten() for name in sorted(state)])


def _same(name: str, before: Tensor, after: Tensor) -> Gap:
    apart = float((torch.nan_to_num(before) - torch.nan_to_num(after)).abs().max())
    return Gap(f"{name}, before and after saving", apart, unit="")


LAWS = (
    Law(
        "saved form",
        "A model that was saved and opened again makes the same samples, weights and losses by the same seed.",
        saved,
        "Keep constructor arguments as attributes of the same name, and all that was fitted as parameters or buffers.",
    ),
)

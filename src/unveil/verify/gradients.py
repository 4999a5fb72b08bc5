"""Gradients: of several estimators against each other, and against the slope of the bound itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from unveil.distributions import surface_of
from unveil.distributions.surface import Counted
from unveil.errors import SettingError
from unveil.models import Gradient
from unveil.objectives import MODEL, Distortion, Iwae, Rate, Term
from unveil.verify.bounds import claimed
from unveil.verify.check import Gap, Law, NotApplicable
from unveil.verify.subject import Subject
from unveil.verify.toy import LATER

REPEATS = 32
"""Independent draws that a gradient's mean is taken over."""
DIRECTIONS = 3
"""Directions of the weights that gradients are looked at along."""
SAMPLES = 4
"""K of the doubly reparameterised bound."""
STEP = 0.05
"""Nats that a step along a direction is to change the loss by."""
DIGITS = 3e-4
"""Of the loss, by which the step is longer, so that a change is more than its rounding."""
LEAST = 1e-3
"""Nats per unit of weights: a slope that is nothing."""
SHARE = 0.02
"""Of a slope, what a step of that length may be off."""

Weights = list[nn.Parameter]


def estimators(subject: Subject) -> list[Gap]:
    """Sticking the landing at K = 1, and the doubly reparameterised gradient, against the pathwise one."""
    pairs: list[tuple[str, Term, Term]] = [
        ("sticking the landing, K = 1", Iwae(1, "sticking"), Iwae(1)),
        (f"doubly reparameterised, K = {SAMPLES}", Iwae(SAMPLES, "dreg"), Iwae(SAMPLES)),
    ]
    weights = _weights(subject)
    gaps, reason = [], ""
    for name, one, other in pairs:
        try:
            gaps += _compared(subject, name, weights, one, other)
        except SettingError as error:
            reason = str(error)
    if not gaps:
        raise NotApplicable(reason)
    return gaps


def _weights(subject: Subject) -> Weights:
    weights = [parameter for parameter in subject.model.parameters() if parameter.requires_grad]
    if not weights:
        raise NotApplicable("no weight of the model is trained")
    return weights


def _compared(subject: Subject, name: str, weights: Weights, one: Term, other: Term) -> list[Gap]:
    directions: list[list[Tensor]] = []
    rows: list[Tensor] = []
    for place in range(REPEATS * subject.effort):
        found = [_gradient(subject, name, place, term, weights) for term in (one, other)]
        if not directions:
            directions = [_direction(subject, name, turn, found[1]) for turn in range(DIRECTIONS)]
        else:  # the first says where to look, and is not looked at
            rows.append(torch.tensor([[_along(g, u) for u in directions] for g in found]))
    values = torch.stack(rows).double()  # (N, 2, DIRECTIONS)
    size = values[:, 1].abs().mean(0) + 1e-12
    what = f"gradient by {name}, against pathwise, along direction"
    apart = (values[:, 0] - values[:, 1]) / size
    return [Gap.over(f"{what} {turn}", apart[:, turn], 5e-3, "of its size") for turn in range(DIRECTIONS)]


def _gradient(subject: Subject, what: str, place: int, term: Term, weights: Weights) -> list[Tensor]:
    return _loss_and_gradient(subject, what, place, lambda: _value(subject, what, place, term), weights)[1]


def _value(subject: Subject, what: str, place: int, term: Term, player: str = MODEL) -> Tensor:
    """The mean loss of the batch, for a player."""
    subject.reseed(what, place)
    gradient: Gradient = term.gradient or "pathwise"
    draw = subject.model.draw(subject.batch, term.samples or 1, gradient)
    loss = term(draw, subject.model, torch.tensor(LATER))
    return (loss if isinstance(loss, Tensor) else loss[player]).mean()


def _loss_and_gradient(
    subject: Subject, what: str, place: int, value: Callable[[], Tensor], weights: Weights
) -> tuple[float, list[Tensor]]:
    loss = value()
    found = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return float(loss.detach()), list(found)


def _direction(subject: Subject, what: str, turn: int, gradient: list[Tensor]) -> list[Tensor]:
    """A random half of the gradient's own entries: a direction along which there is something to compare."""
    source = subject.generator(what, "direction", turn)
    kept = [part * torch.randint(0, 2, part.shape, generator=source) for part in gradient]
    if turn == 0:
        kept = list(gradient)
    norm = torch.stack([part.square().sum() for part in kept]).sum().sqrt() + 1e-30
    return [part / norm for part in kept]


def _along(gradient: list[Tensor], direction: list[Tensor]) -> float:
    return float(sum((g.double() * u.double()).sum() for g, u in zip(gradient, direction, strict=True)))


def slope(subject: Subject) -> list[Gap]:
    """The gradient of the bound, and of an objective that is one, against its change along a step with the same noise."""
    with torch.no_grad():
        draw = subject.draw("slope", 0)
    if draw.posterior is not None and isinstance(surface_of(draw.posterior), Counted):
        raise NotApplicable("z is counted, and its draws pass a gradient straight through, or none")
    gaps, elbo = [], Distortion() + Rate() if draw.rated else Distortion()
    weights = _weights(subject)
    gaps += _sloped(subject, "the bound" if draw.rated else "the distortion", elbo, weights, MODEL)
    if _claims(subject):
        for player, mine in _players(subject).items():
            gaps += _sloped(subject, f"the objective for {player}", subject.objective, mine, player)
    if not gaps:
        raise NotApplicable("the bound has no slope here")
    return gaps


def _claims(subject: Subject) -> bool:
    """Whether the objective is a bound whose gradient is to be its slope."""
    if subject.objective.gradient == "sticking" and (subject.objective.samples or 1) > 1:
        return False  # biased, as it says
    try:
        claimed(subject)
    except NotApplicable:
        return False
    return True


def _players(subject: Subject) -> dict[str, Weights]:
    """Whose weights follow which loss of the objective."""
    named = {name: list(part) for name, part in subject.objective.players(subject.model).items()}
    claimed = {id(parameter) for part in named.values() for parameter in part}
    rest = [p for p in subject.model.parameters() if p.requires_grad and id(p) not in claimed]
    own = {id(parameter) for parameter in subject.model.parameters()}
    inside = {name: [p for p in part if id(p) in own] for name, part in named.items()}
    return {name: part for name, part in {**inside, MODEL: rest}.items() if part}


def _sloped(subject: Subject, name: str, term: Term, weights: Weights, player: str) -> list[Gap]:
    """The gradient along directions, against a central difference of the loss by the same noise."""
    directions: list[list[Tensor]] = []
    lengths: list[float] = []
    rows = []
    for place in range(REPEATS // 2 * subject.effort + 1):
        value = lambda place=place: _value(subject, name, place, term, player)  # noqa: E731
        loss, gradient = _loss_and_gradient(subject, name, place, value, weights)
        if not directions:
            directions = [_direction(subject, name, turn, gradient) for turn in range(DIRECTIONS)]
            slopes = [abs(_along(gradient, u)) for u in directions]
            if min(slopes) < LEAST:
                return []
            lengths = [(STEP + DIGITS * abs(loss)) / slope for slope in slopes]
            continue
        row = []
        for u, length in zip(directions, lengths, strict=True):
            values = []
            for sign in (1.0, -1.0):
                with _moved(weights, u, sign * length), torch.enable_grad():
                    values.append(float(value().detach()))
            row.append((_along(gradient, u), (values[0] - values[1]) / (2 * length)))
        rows.append(row)
    found = torch.tensor(rows).double()  # (N, DIRECTIONS, 2)
    size = found[..., 1].abs().mean(0) + 1e-9
    apart = (found[..., 0] - found[..., 1]) / size
    what = f"gradient of {name}, against its slope, along direction"
    return [Gap.over(f"{what} {turn}", apart[:, turn], SHARE, "of its size") for turn in range(DIRECTIONS)]


@contextmanager
def _moved(weights: Weights, direction: list[Tensor], length: float) -> Iterator[None]:
    """Within, the weights are a step away."""
    kept: list[Any] = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight, u in zip(weights, direction, strict=True):
            weight.add_(u, alpha=length)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, kept, strict=True):
                weight.copy_(value)


LAWS = (
    Law(
        "gradient estimators",
        "Sticking the landing at K = 1 and the doubly reparameterised gradient have the mean of the pathwise one.",
        estimators,
        "Let detach() give the same distribution with constant parameters, and rsample() carry the whole gradient.",
    ),
    Law(
        "slope",
        "The gradient of the bound is its slope.",
        slope,
        "Let rsample() carry the gradient of every parameter, and detach nothing on the way from weights to loss.",
    ),
)

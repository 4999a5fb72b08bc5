"""What becomes of a step that is not finite: it is left out, or ends the training, or sends it back to go slower.

The guard has kept such a step from the weights already. What is decided here is a function of the steps alone, so that a
run that was stopped on the way decides alike.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from unveil.data import Feed
from unveil.errors import DivergedError
from unveil.training.config import Training
from unveil.training.state import State
from unveil.training.step import FIGURES
from unveil.training.watching import Journal
from unveil.words import number

log = logging.getLogger(__name__)

LOST = "a loss or gradient that was not finite or had blown up"
"""What is wrong with a step that the guard keeps from the weights."""
SLOWER = 0.5
"""By what the learning rate is multiplied where training goes back."""
SHOWN = 5
"""Lost steps, and rows of each, that a warning names."""
RECORDED = 100
"""Lost steps of an epoch that get an event of their own; how many there were in all is in the epoch's record."""
MOST = 10
"""How often a run may go back, after which its rate is a thousandth."""


class Recovery:
    """What `Training.nonfinite` asks for.

    Args:
        config: how it is trained.
        state: of the run, which is sent back in place.
        feed: what each step saw.
        journal: who is told; None for nobody.
    """

    def __init__(self, config: Training, state: State, feed: Feed, journal: Journal | None) -> None:
        self.how = config.nonfinite
        self.learning_rate = config.learning_rate
        self.state, self.feed, self.journal = state, feed, journal

    @property
    def watches(self) -> bool:
        """Whether it must know of a step at once whether it was finite, for which the host waits for the device."""
        return self.how != "skip"

    def begin(self, epoch: bool) -> None:
        """Keep what there may be to go back to, at the beginning of each epoch, and where there is nothing yet."""
        if self.how == "roll-back" and (epoch or not self.state.start):
            self.state.remember()

    def lost(self) -> bool:
        """What becomes of the step just taken, which was lost: True if training went back because of it.

        Raises:
            DivergedError: training is to stop there, or has gone back often enough.
        """
        step = self.state.step - 1
        named, event = self._named(step), self._event(step)
        try:
            then = self._decide(step, named)
        except DivergedError:
            self._tell({**event, "then": "stopped"})
            raise
        if then is not None:
            self._tell({**event, "then": then})
            log.warning("%s had %s: %s", named, LOST, then)
        return then is not None

    def _decide(self, step: int, named: str) -> str | None:
        """What was done about step `step`, the last one; None where it is left out."""
        if self.how == "stop":
            raise DivergedError(
                f"{named} had {LOST}, and training was to stop there; look at these rows, or train "
                f"anew with a learning rate below {number(self.learning_rate)}"
            )
        state = self.state
        # where it comes again, or what it saw is at fault, a smaller rate is no help
        if step in state.went_back or not self._sees_numbers(step):
            return None
        if len(state.went_back) == MOST:
            raise DivergedError(
                f"{named} had {LOST} after training had gone back {MOST} times already; train anew "
                f"with a learning rate below {number(self.learning_rate * state.slower)}"
            )
        state.went_back.append(step)
        state.slower *= SLOWER
        state.go_back()
        return f"back to step {state.step}, at {number(state.slower)} times the learning rate"

    def _sees_numbers(self, step: int) -> bool:
        x = self.feed.batch(step).x
        known = x[~x.isnan()] if self.feed.split.gaps else x
        return bool(known.isfinite().all())

    def left_out(self, places: Sequence[int]) -> None:
        """Tell of the steps of the epoch just ended, by their places in it, that were lost and left out."""
        if not places:
            return
        epoch = self.feed.steps_per_epoch
        first = self.state.step - epoch
        for place in places[:RECORDED]:
            self._tell({**self._event(first + place), "then": "left out"})
        named = "; ".join(self._named(first + place) for place in places[:SHOWN])
        count = f"{len(places)} of {epoch}"
        log.warning("epoch %d: %s steps were left out, each with %s: %s", self.state.step // epoch, count, LOST, named)

    def _tell(self, event: Mapping[str, Any]) -> None:
        self.state.events += 1
        if self.journal is not None:
            self.journal.event(event)

    def _event(self, step: int) -> dict[str, Any]:
        """A step of this epoch: its figures, and the rows that it saw in their source."""
        epoch, place = divmod(step, self.feed.steps_per_epoch)
        figures = dict(zip(FIGURES, self.state.tally.rows[place].tolist(), strict=False))
        return {"step": step, "epoch": epoch + 1, **figures, "rows": self._rows(step)}

    def _named(self, step: int) -> str:
        """A step and what it saw, for a person who looks for the bad row in it."""
        rows = self._rows(step)
        return f"step {step} (rows {', '.join(map(str, rows[:SHOWN]))}{' ...' if len(rows) > SHOWN else ''})"

    def _rows(self, step: int) -> list[int]:
        return self.feed.split.rows[self.feed.positions(step).cpu()].tolist()

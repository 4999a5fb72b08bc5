"""What becomes of a step that is not finite: it is left out, or ends the training, or sends it back to go slower.

The guard has kept such a step from the weights already. What is decided here is a function of the steps alone, so that a
run that was stopped on the way decides alike.
"""

from __future__ import annotations

from unveil.errors import DivergedError
from unveil.training.config import Training
from unveil.training.state import State

LOST = "a loss or gradient that was not finite or had blown up"
"""What is wrong with a step that the guard keeps from the weights."""
SLOWER = 0.5
"""By what the learning rate is multiplied where training goes back."""
MOST = 10
"""How often a run may go back, after which its rate is a thousandth."""


class Recovery:
    """What `Training.nonfinite` asks for.

    Args:
        config: how it is trained.
        state: of the run, which is sent back in place.
    """

    def __init__(self, config: Training, state: State) -> None:
        self.how = config.nonfinite
        self.learning_rate = config.learning_rate
        self.state = state

    def begin(self, epoch: bool) -> None:
        """Keep what there may be to go back to, at the beginning of each epoch, and where there is nothing yet."""
        if self.how == "roll-back" and (epoch or not self.state.start):
            self.state.remember()

    @property
    def watches(self) -> bool:
        """Whether it must know of a step at once whether it was finite, for which the host waits for the device."""
        return self.how != "skip"

    def after(self, sound: bool, named: str) -> str | None:
        """What is done about the step just taken, which was not finite; None where it is left out.

        Args:
            sound: whether what it saw is finite, without which a smaller rate is no help.
            named: the step, for a person.

        Raises:
            DivergedError: training is to stop there, or has gone back often enough.
        """
        if self.how == "stop":
            raise DivergedError(
                f"{named} had {LOST}, and training was to stop there; look at these rows, or train "
                f"anew with a learning rate below {self.learning_rate:g}"
            )
        state, lost = self.state, self.state.step - 1
        if lost in state.went_back or not sound:
            return None
        if len(state.went_back) == MOST:
            raise DivergedError(
                f"{named} had {LOST} after training had gone back {MOST} times already; train anew "
                f"with a learning rate below {self.learning_rate * state.slower:g}"
            )
        state.went_back.append(lost)
        state.slower *= SLOWER
        state.go_back()
        return f"back to step {state.step}, at {state.slower:g} times the learning rate"

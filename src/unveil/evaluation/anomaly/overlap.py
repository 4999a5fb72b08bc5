"""What keeps scored examples from being like held-out ones: that the model has seen them, or that they are those."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from unveil.data import Split
from unveil.evaluation.figure import Figure, share

FAR = 4
"""Standard errors by which examples must be in a split more often than chance has it before it is said."""


@dataclass(frozen=True)
class Overlap:
    """How many examples are equal to some of another split, by their stored values, whatever the splits are called.

    Where x has few values, examples are equal to others by chance: as often as held-out ones are to training examples,
    and to one another.

    Attributes:
        trained: scored examples that are equal to a training example; None where those are not known.
        calibrating: scored examples that are equal to a held-out one.
        usual: share of held-out examples that are equal to a training example; None where those are not known.
        twins: share of held-out examples that are equal to another one.
        on_training: whether the held-out examples are the training split itself.
    """

    trained: int | None
    calibrating: int
    usual: Figure | None
    twins: Figure
    on_training: bool

    @classmethod
    def of(cls, split: Split, held_out: Split, trained: Split | None) -> Overlap:
        """Of examples that are scored, those that the threshold comes from, and what the model was trained on."""
        scored, held = _rows(split), _rows(held_out)
        once = set(held)
        twins = share(len(held) - list(Counter(held).values()).count(1), len(held))
        calibrating = sum(row in once for row in scored)
        if trained is None:
            return cls(None, calibrating, None, twins, False)
        known = set(_rows(trained))
        usual = share(sum(row in known for row in held), len(held))
        same = held_out.digest() == trained.digest()
        return cls(sum(row in known for row in scored), calibrating, usual, twins, same)

    @property
    def all_there(self) -> bool:
        """Whether most held-out examples, of which no two are alike, are among the scored: that is no accident."""
        return self.twins.value == 0 and self.calibrating > self.twins.n / 2

    def advice(self, n: int) -> list[str]:
        """What to be careful about with p-values of n scored examples."""
        said = []
        if self.on_training:
            said.append(
                "the threshold comes from training examples, which the model fits better than new ones: take held-out data"
            )
        elif self.trained is not None and self.usual is not None and _more(self.trained, n, self.usual):
            said.append(
                f"{self.trained:,} of the {n:,} scored examples are training examples, which fit better than new ones: "
                "fewer of them are flagged than the rate says"
            )
        if _more(self.calibrating, n, self.twins) or self.all_there:
            said.append(
                f"{self.calibrating:,} of the {n:,} scored examples are those that the threshold comes from, so that their "
                "p-values say nothing"
            )
        return said


def _more(count: int, n: int, usual: Figure) -> bool:
    found = share(count, n)
    return found.value - usual.value > FAR * (found.stderr**2 + usual.stderr**2) ** 0.5


def _rows(split: Split) -> list[bytes]:
    return [row.tobytes() for row in split.values[:].flatten(1).numpy()]

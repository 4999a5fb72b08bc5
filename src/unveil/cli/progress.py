"""How a person sees work go on: a bar on a terminal, plain lines elsewhere. Everything here goes to standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from unveil.training.watching import Watched


def say(text: str) -> None:
    """A line for the person, around a bar that may be there."""
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()


class Handler(logging.Handler):
    """The library's log as lines for the person."""

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        say(said if record.levelno == logging.INFO else f"{record.levelname.lower()}: {said}")


def lasting(seconds: float) -> str:
    """A duration as a person says it."""
    seconds = round(seconds)
    if seconds < 90:
        return f"{seconds} s"
    return (
        f"{seconds // 60} min {seconds % 60:02} s" if seconds < 5400 else f"{seconds // 3600} h {seconds % 3600 // 60} min"
    )


class TrainingBar:
    """Epoch, -ELBO, distortion, rate, examples/s and the time left."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None

    def begin(self, watched: Watched) -> None:
        from unveil.evaluation.names import cost_name  # which brings torch along

        self.measured = cost_name(watched.normalised)
        self.steps, self.batch_size = watched.steps, watched.batch_size
        self.start, self.first = perf_counter(), watched.done
        self.epochs = watched.steps // watched.steps_per_epoch
        if sys.stderr.isatty():
            form = "{desc} {percentage:3.0f}%|{bar}| {postfix} [{elapsed}, {remaining} left]"
            first = f"epoch {watched.done // watched.steps_per_epoch + 1}/{self.epochs}"
            self.bar = tqdm(total=watched.steps, initial=watched.done, bar_format=form, dynamic_ncols=True, desc=first)

    def _rate(self, step: int) -> float:
        return (step - self.first) * self.batch_size / max(perf_counter() - self.start, 1e-9)

    def step(self, step: int) -> None:
        if self.bar is not None and step % 20 == 0:
            self.bar.update(step - self.bar.n)

    def epoch(self, record: Mapping[str, Any]) -> None:
        seen, which = record.get("validation", record), "validation" if "validation" in record else "training"
        figures = f"{which} distortion {seen['distortion']:,.2f}, loss {seen['loss']:,.2f}"
        if "rate" in seen:  # it is infinite under a posterior without density
            halves = f"distortion {seen['distortion']:,.2f} + rate {seen['rate']:,.2f}"
            figures = f"{which} {self.measured} {seen['neg_elbo']:,.2f} = {halves}"
        speed = f"{self._rate(record['step']):,.0f} examples/s"
        if self.bar is not None:
            self.bar.update(record["step"] - self.bar.n)
            self.bar.set_description_str(f"epoch {min(record['epoch'] + 1, self.epochs)}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(f"{figures}, {speed}")
        else:
            share = (record["step"] - self.first) / max(self.steps - self.first, 1)
            left = (perf_counter() - self.start) * (1 / share - 1)
            say(f"epoch {record['epoch']}/{self.epochs}: {figures} nats, {speed}, {lasting(left)} left")

    def close(self) -> None:
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.close()


class EvaluationBar:
    """The forecast, then how many examples are done."""

    def __init__(self) -> None:
        self.what = ""
        self.bar: tqdm | None = None

    def forecast(self, what: str, seconds: float, done: int) -> None:
        before = f", going on after the {done:,} examples that were done before" if done else ""
        self.what = what
        say(f"{what}: this will take about {lasting(seconds)}{before}")

    def done(self, images: int, total: int) -> None:
        if self.bar is None and sys.stderr.isatty():
            self.bar = tqdm(total=total, desc=self.what, unit=" examples", dynamic_ncols=True, leave=False)
        if self.bar is not None:
            self.bar.update(images - self.bar.n)
            if images >= total:
                self.bar.close()
                self.bar = None

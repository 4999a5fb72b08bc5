"""What can be wrong with a run: the list of all checks, and who goes through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from unveil.data import Dataset
from unveil.doctor.case import STEPS, Case, Told
from unveil.doctor.finding import Finding, arranged
from unveil.doctor.latent import collapsed, dead_codes, likelihood_scales, posterior_scales
from unveil.doctor.likelihood import likelihood_misfit
from unveil.doctor.nats import examples_not_finite, outliers, overfitted, unlike_splits
from unveil.doctor.nonfinite import lost_steps, weights_not_finite
from unveil.doctor.training import interrupted, jumps, other_beta, rose_again, still_falling, weight_below_one
from unveil.preflight import check
from unveil.run import Run

Check = Callable[[Case], Iterator[Finding]]

CHECKS: list[Check] = [
    lost_steps,
    examples_not_finite,
    interrupted,
    collapsed,
    posterior_scales,
    likelihood_scales,
    dead_codes,
    likelihood_misfit,
    overfitted,
    unlike_splits,
    still_falling,
    rose_again,
    jumps,
    weight_below_one,
    other_beta,
    outliers,
]
"""All checks of a run whose weights are finite. Whoever adds one, a function from a case to findings, puts it here."""
RECORDED: list[Check] = [lost_steps, interrupted, still_falling, rose_again, jumps, weight_below_one]
"""Those of them that look at what the run left behind alone."""


def examine_run(run: Run, data: Dataset, seed: int = 0, steps: int = STEPS) -> list[Finding]:
    """What is wrong with a run, the worst first; empty where nothing is.

    The model is looked at on at most 2,000 examples of each split, drawn by the seed.

    Args:
        run: a trained model; it stays as it is.
        data: what it was trained on.
        seed: of the examples, and of the noise.
        steps: most that are taken again, where steps were lost, in search of the first tensor that was not finite.

    Raises:
        SettingError: model and data do not fit together.
        DataError: the model is conditioned on labels that the data do not have.
    """
    case = Case(run, run.suited(data), seed, steps)
    spoiled = list(weights_not_finite(case))
    if spoiled:
        return spoiled  # whatever else is looked at would be no number either
    check(run.model, case.data)
    return arranged(finding for one in CHECKS for finding in one(case))


def examine_records(run: Run) -> list[Finding]:
    """What its weights and metrics alone say is wrong with a run whose data are not at hand, the worst first."""
    case = Told(run)
    return list(weights_not_finite(case)) or arranged(finding for one in RECORDED for finding in one(case))

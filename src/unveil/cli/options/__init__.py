"""What each command takes. One dataclass a command: the terminal's options and their help come from here alone."""

from unveil.cli.options.judging import Compare, Doctor, Evaluate, Score, Verify
from unveil.cli.options.shared import Reading
from unveil.cli.options.sharing import Explore, Export, Push, Report, Serve
from unveil.cli.options.training import Demo, Inspect, Recipes, RefitPrior, Train, Tune
from unveil.cli.options.using import Encode, Impute, Reconstruct, Sample

__all__ = [
    "Compare",
    "Demo",
    "Doctor",
    "Encode",
    "Evaluate",
    "Explore",
    "Export",
    "Impute",
    "Inspect",
    "Push",
    "Reading",
    "Recipes",
    "Reconstruct",
    "RefitPrior",
    "Report",
    "Sample",
    "Score",
    "Serve",
    "Train",
    "Tune",
    "Verify",
]

"""The model card: README.md as the hub shows it, figures included that the hub reads, from run.json and the report card.

It says nothing that was not measured or written down: without a report it has no figures, and without a licence none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from unveil.data import Space
from unveil.data.facts import short
from unveil.evaluation import Figure, Report
from unveil.evaluation.likelihood.contender import WEIGHTED
from unveil.evaluation.likelihood.quadrature import Quadrature
from unveil.evaluation.names import cost_name
from unveil.export.readme import literal
from unveil.opening import KNOWN
from unveil.pages.card import Sheet
from unveil.pages.facts import Facts
from unveil.pages.shown import Shown
from unveil.version import __version__
from unveil.words import counted

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

CARD = "README.md"
IMAGES = "unconditional-image-generation"
"""What the hub calls models that make images of nothing."""


@dataclass(frozen=True)
class Card:
    """A model card; `str` gives its text.

    Attributes:
        repo: OWNER/NAME.
        about: what is known of the run.
        report: its report card; None where it was not evaluated.
        manifest: what run.json says.
        pictures: what there is to see, by file.
        held: what of the data goes with it, in words.
        license: under which it is passed on; None where nothing is said of it.
    """

    repo: str
    about: Facts
    report: Report | None
    manifest: Mapping[str, Any]
    pictures: Mapping[str, Shown]
    held: tuple[str, ...]
    license: str | None = None

    def __str__(self) -> str:
        parts = [f"---\n{self.metadata()}\n---", *self._what(), *self._call(), *self._figures(), *self._made()]
        return "\n\n".join([*parts, *self._whose(), *self._limits()]) + "\n"

    @property
    def _space(self) -> Space:
        said = self.manifest["data"]
        return Space(tuple(said["shape"]), said["measure"], said.get("levels", 256))

    def metadata(self) -> str:
        """What the hub reads of it, as YAML: library, licence, tags, and each figure with K, n and its standard error."""
        from huggingface_hub import ModelCardData

        free = self._space.is_image and not self.manifest["data"].get("classes", 0)
        results = list(self._results())
        found = ModelCardData(
            library_name="unveil",
            license=self.license,
            tags=["unveil", "variational-autoencoder", "generative-model", self.about.recipe.name],
            pipeline_tag=IMAGES if free else None,
            model_name=self.repo.rpartition("/")[2] if results else None,
            eval_results=results or None,
        )
        return found.to_yaml()

    def _results(self) -> Iterator[EvalResult]:
        """Each figure of the nats as the hub lists it."""
        from huggingface_hub import EvalResult

        if self.report is None:
            return
        nats, exact = self.report.nats, self.report.sections.get("quadrature")
        x = "x|y" if nats.told else "x"
        weighted = WEIGHTED.replace("x", x)
        wanted: list[tuple[str, str, Figure | None]] = [
            ("nll", f"{weighted}, importance-weighted, K = {nats.samples:,}, nats", nats.nll),
            ("neg_elbo", f"{cost_name(nats.normalised)}, nats", nats.neg_elbo),
            ("distortion", f"{cost_name(nats.normalised, rated=False)}, nats", nats.distortion),
        ]
        if isinstance(exact, Quadrature):
            wanted.insert(0, ("nll_quadrature", f"{weighted}, integrated over z, nats", exact.nll))
        for kind, name, figure in wanted:
            if figure is None or not isfinite(figure.value):
                continue
            said: dict[str, Any] = {"unit": figure.unit, "n": figure.n, "seed": nats.seed}
            if isfinite(figure.stderr):
                said["standard_error"] = figure.stderr
            if kind != "nll_quadrature":
                said["K"] = nats.samples
            if kind == "nll" and nats.defensive:
                said["defensive"] = nats.defensive
            yield EvalResult(
                task_type="density-estimation",
                task_name="Density estimation",
                dataset_type=short(nats.data),
                dataset_name=f"{short(nats.data)} ({nats.measure})",
                dataset_split=nats.split,
                metric_type=kind,
                metric_name=name,
                metric_value=figure.value,
                metric_args=said,
            )

    def _what(self) -> Iterator[str]:
        about, model = self.about, self.about.model
        yield f"# {literal(about.title)}"
        made = f" Recipe `{about.recipe.name}`: {literal(about.recipe.summary)}." if about.recipe.summary else ""
        source = f" {literal(about.recipe.source)}." if about.recipe.source else ""
        yield (
            "A generative model with latent variables, p(x, z) = p(z) p(x|z), and its encoder q(z|x), trained with Unveil."
            f"{made}{source}"
        )
        x, z = (" x ".join(map(str, shape)) for shape in (about.data.shape, model.latent))
        yield (
            f"One x has the shape {x} ({about.data.measure}), one z {z}; the {model.kind} has "
            f"{counted(model.parameters, 'parameter')}."
        )
        for file, one in self.pictures.items():
            yield f"![{literal(one.alt)}]({file})"
            yield literal(one.caption)

    def _call(self) -> Iterator[str]:
        address = f"hf://{self.repo}"
        own = sorted({str(one.get("type")) for one in self.manifest["spec"]["parts"]} - set(KNOWN))
        parts = f", parts=[{', '.join(own)}]" if own else ""
        label = "label=0, " if self.manifest["data"].get("classes", 0) else ""
        lines = [
            "import unveil",
            "",
            f'run = unveil.open("{address}"{parts})  # {address}@COMMIT pins one',
            f"x = run.sample(64, {label}seed=0)",
            *(["print(run.report())  # the figures below"] if self.report is not None else []),
        ]
        yield "## Call it"
        yield "\n".join(["```python", *lines, "```"])
        if own:
            yield f"Its own parts, {', '.join(f'`{literal(one)}`' for one in own)}, are not in these files."
        else:
            yield f"At the terminal: `unveil sample {address} -n 64`. Both need Unveil with its extra `hub`."

    def _figures(self) -> Iterator[str]:
        yield "## Figures"
        if self.report is None:
            yield "It was not evaluated."
            return
        nats = self.report.nats
        yield (
            f"Of {literal(short(nats.data))}, {nats.split} split, ± standard error over examples; seed {nats.seed}, "
            f"{nats.precision}."
        )
        for sheet in self.about.sheets:
            yield f"### {literal(sheet.title)}"
            yield _table(sheet)
            if sheet.advice:
                yield "\n".join(f"- {literal(one)}" for one in sheet.advice)
        yield from (f"Without {literal(name)}: {literal(why)}." for name, why in self.about.refused.items())

    def _made(self) -> Iterator[str]:
        about = self.about
        yield "## How it was made"
        for one in about.commands:
            yield f"This {one.purpose}:"
            yield f"```\n{one.line}\n```"
        training = {name: value for name, value in about.recipe.training.items() if name in SAID}
        yield _list({**about.recipe.settings, **training, "objective": f"`{about.model.objective}`"}, code=("objective",))
        took = "" if about.seconds is None else f", in {counted(round(about.seconds), 'second')}"
        steps = about.outcome.get("steps")
        went = f"{counted(steps, 'step')}{took}; " if isinstance(steps, int) else ""
        versions = ", ".join(f"{name} {value}" for name, value in about.machine["versions"].items())
        yield f"Training {about.status or 'ended'}: {went}{literal(versions)}; pushed by Unveil {__version__}."

    def _whose(self) -> Iterator[str]:
        data = self.about.data
        yield "## Whose data"
        whose = literal(data.attribution or "Whose they are, and under which licence, Unveil does not know")
        rows = ", ".join(f"{count:,} for {name}" for name, count in data.rows.items())
        yield f"Trained on {literal(data.name)}: {rows}; fingerprint `{data.fingerprint}`. {whose}."
        if self.held:
            yield f"With the model travel {literal('; '.join(self.held))}."
        else:
            yield "Of single examples its weights hold nothing but what was learned from them, and no picture shows one."

    def _limits(self) -> Iterator[str]:
        yield "## Limits"
        said = [*self.about.notes]
        if self.report is not None and self.report.nll is not None:
            said.append(
                f"The importance-weighted estimate lies above -log p(x) in expectation, the less the more draws; K is "
                f"{self.report.nats.samples:,} here."
            )
        if self.report is not None:
            said.append("Nothing was measured but the figures above, on data of the same source as it was trained on.")
        said.append("Samples follow the data that it was trained on, with whatever these over- or underrepresent.")
        yield "\n".join(f"- {literal(one)}" for one in said)


SAID = ("epochs", "batch_size", "accumulate", "learning_rate", "schedule", "precision", "seed")
"""Settings of training that a reader looks for; run.json has all."""


def _table(sheet: Sheet) -> str:
    """Figures with their names, as a table."""
    rows = [f"| {'– ' * row.depth}{literal(row.name)} | {literal(row.text)} |" for row in sheet.rows]
    return "\n".join(["| figure | |", "|---|---|", *rows])


def _list(said: Mapping[str, Any], code: Iterable[str] = ()) -> str:
    """Settings by name, one a line."""
    return "\n".join(f"- {literal(name)}: {value if name in code else literal(str(value))}" for name, value in said.items())

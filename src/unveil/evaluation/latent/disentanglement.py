"""Whether each factor that the data were made from has a dimension of z of its own: four scores, each beside its floor.

No score is a fact of the model alone: each depends on how it is estimated and on how many examples. Therefore every one
stands beside the same score of an encoding that knows nothing, the same means handed to other examples, and comes with a
standard error over examples by the bootstrap, in which everything that it fits is fitted again.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

import torch
from torch import Tensor

from unveil.data import Dataset, Split
from unveil.errors import DataError
from unveil.evaluation.encoding import encoded
from unveil.evaluation.figure import Figure
from unveil.evaluation.flat import flat_prior
from unveil.evaluation.latent import factor_scores
from unveil.evaluation.latent.factor_scores import Known
from unveil.models import Model
from unveil.randomness import key
from unveil.words import counted

FITTED = 2_000
"""Training examples that SAP, DCI and the FactorVAE score are fitted to."""
SCORED = 5_000
"""Examples of the split that are scored, at most."""
ALIVE = 0.01
"""Least share of the variance of z in a dimension that its mean must make up, else the dimension tells nothing."""
SURE = 3.0
"""Standard errors above its floor at which a score says something."""
LOST = 0.2
"""Informativeness of a factor below which it is not in z, and `TOLD` that of all above which they are."""
TOLD = 0.6
MIXED = 0.5
"""Disentanglement below which dimensions hold several factors each."""
SPREAD = 0.2
"""Disentanglement above completeness by so much: factors are held by several dimensions each."""


@dataclass(frozen=True)
class Rated:
    """One score, with what it is to be compared with.

    Attributes:
        score: its value, with the standard error over examples of the training and the scored split alike: the standard
            deviation over bootstrap samples of both, fitted and scored anew.
        floor: the same for an encoding that knows nothing of the factors, the mean and its standard error over permutations
            of the examples; n counts the permutations.
        by_factor: the score of each factor; empty where it is one of the dimensions.
    """

    score: Figure
    floor: Figure
    by_factor: tuple[float, ...] = ()

    @property
    def ahead(self) -> float:
        """How many standard errors the score is above its floor."""
        error = hypot(self.score.stderr, self.floor.stderr)
        return (self.score.value - self.floor.value) / max(error, 1e-12)

    def __str__(self) -> str:
        return f"{self.score.value:.3f} ± {self.score.stderr:.3f} (an encoding that knows nothing: {self.floor.value:.3f})"


@dataclass(frozen=True)
class Disentanglement:
    """What `disentanglement` found, on one split.

    Attributes:
        data: name of the data, and `split` which of its splits was scored.
        n: examples scored, and `fitted` training examples that were fitted to.
        seed: of which examples, of the bootstrap, of the permutations, and of forests and votes.
        factors: the names of the factors that vary, and `ordered` those of them whose values are in order.
        dimensions: of z, and `alive` those whose means make up a hundredth of the variance of z or more; the others count
            as constant.
        best: for each factor, the dimension that tells most of it.
        mig: mutual information gap.
        sap: separated attribute predictability.
        disentanglement: of DCI, whether each dimension is important for one factor alone.
        completeness: of DCI, whether each factor has one dimension alone that is important for it.
        informativeness: of DCI, how well all dimensions together predict the factors, on examples not fitted to.
        factor_vae: accuracy of telling the factor that was held fixed by the dimension that varies least.
    """

    data: str
    split: str
    n: int
    fitted: int
    seed: int
    factors: tuple[str, ...]
    ordered: tuple[str, ...]
    dimensions: int
    alive: tuple[int, ...]
    best: tuple[int, ...]
    mig: Rated
    sap: Rated
    disentanglement: Rated
    completeness: Rated
    informativeness: Rated
    factor_vae: Rated

    def table(self) -> list[tuple[str, str]]:
        """What the terminal prints."""
        rows = [
            ("mutual information gap", str(self.mig)),
            ("separated predictability", str(self.sap)),
            ("DCI disentanglement", str(self.disentanglement)),
            ("DCI completeness", str(self.completeness)),
            ("DCI informativeness", str(self.informativeness)),
            ("FactorVAE score", str(self.factor_vae)),
        ]
        told = zip(self.factors, self.best, self.mig.by_factor, self.informativeness.by_factor, strict=True)
        for name, best, gap, share in told:
            rows.append(
                (f"factor {name}", f"most in dimension {best} (gap {gap:.2f}), told to {share:.2f} by all dimensions")
            )
        sizes = f"{counted(self.n, 'example')} of {self.split}, fitted to {self.fitted:,} of train"
        return [
            *rows,
            ("scored on", f"{sizes}; {len(self.alive)} of {counted(self.dimensions, 'dimension')} alive; seed {self.seed}"),
        ]

    def advice(self) -> list[str]:
        """What to change; empty where nothing is to be said."""
        said = []
        lost = [name for name, told in zip(self.factors, self.informativeness.by_factor, strict=True) if told < LOST]
        if lost:
            said.append(
                f"z tells next to nothing of {', '.join(lost)}: give it more dimensions, lower the weight of the rate, or "
                "train longer, before any question of disentanglement"
            )
        names = ("mig", "sap", "disentanglement", "completeness", "factor_vae")
        chance = [name for name in names if getattr(self, name).ahead < SURE]
        if chance:
            said.append(
                f"{', '.join(chance)} cannot be told from an encoding that knows nothing; draw no conclusion from it"
            )
        told, sorted_out = self.informativeness.score.value, self.disentanglement.score.value
        if told > TOLD and sorted_out < MIXED:
            said.append(
                "the factors are in z, but mixed: weigh the total correlation more, as beta-tc-vae and factor-vae do"
            )
        if sorted_out - self.completeness.score.value > SPREAD:
            said.append("dimensions hold one factor each, but factors are spread over several: take fewer dimensions")
        return said


def rated(
    score: factor_scores.Score, train: Known, test: Known, seed: int = 0, repeats: int = 100, permutations: int = 10
) -> dict[str, Rated]:
    """Every number that `score` gives, with its error and its floor.

    Args:
        score: `mig`, `sap`, `dci` or `factor_vae`, or one like them.
        train: what it fits.
        test: what it is the score of.
        seed: of everything random.
        repeats: bootstrap samples, at least 2.
        permutations: encodings that know nothing, at least 2.
    """
    whole = score(train, test, key(seed, "whole"))

    def values(kind: str, count: int) -> dict[str, Tensor]:
        found = []
        for turn in range(count):
            change = Known.resampled if kind == "bootstrap" else Known.permuted
            sides = [change(side, seed, kind, name, turn) for name, side in (("train", train), ("test", test))]
            found.append(score(sides[0], sides[1], key(seed, kind, turn)))
        return {name: torch.stack([one[name].mean() for one in found]) for name in whole}

    again, nothing = values("bootstrap", repeats), values("floor", permutations)
    return {
        name: Rated(
            Figure(float(parts.mean()), float(again[name].std()), len(test), "of 1"),
            Figure.over(nothing[name], "of 1"),
            tuple(parts.tolist()) if len(parts) > 1 else (),
        )
        for name, parts in whole.items()
    }


def disentanglement(
    model: Model, data: Dataset, split: str = "test", seed: int = 0, fitted: int = FITTED, scored: int = SCORED
) -> Disentanglement:
    """How the means of q(z|x) arrange the factors that `data` were made from.

    A random reading gives way to its mean, as in `encode`. A dimension whose mean makes up less than a hundredth of the
    variance of z, E[Var q] + Var E[q] over the training examples, counts as constant: however faint, its mean is a function
    of x, and would tell of factors what no draw of z does. Factors that do not vary are left out.

    Args:
        model: with one layer of z, real vectors.
        data: with factors.
        split: which split is scored; what is fitted is fitted on train.
        seed: of everything random.
        fitted: training examples to fit, at most.
        scored: examples to score, at most.

    Raises:
        DataError: data without factors, or too few examples for theirs.
        SettingError: a model with several layers of z, or with z that are no real vectors of two dimensions or more.
    """
    train, test = data.train.sample(fitted, seed), data.split(split).sample(scored, seed)
    vary = _varying(data, train, test)
    names = tuple(data.factors[place] for place in vary)
    (seen, spread), (wanted, _) = _encode(model, train), _encode(model, test)
    own = seen.var(0, correction=0)
    alive = own >= ALIVE * (own + spread.square().mean(0)).clamp(min=torch.finfo(torch.float64).tiny)

    def known(means: Tensor, part: Split) -> Known:
        assert part.factors is not None
        return Known(torch.where(alive, means, 0.0), part.factors[:, vary], tuple(name in data.ordered for name in names))

    fit, scores = known(seen, train), known(wanted, test)
    for side in (fit, scores):
        side.check(names)
    found: dict[str, Rated] = {}
    # what is fitted anew costs seconds: a forest for each factor is bootstrapped less often
    for score, repeats, permutations in (
        (factor_scores.mig, 100, 10),
        (factor_scores.sap, 50, 10),
        (factor_scores.dci, 8, 2),
        (factor_scores.factor_vae, 30, 10),
    ):
        found |= rated(score, fit, scores, seed, repeats, permutations)
    return Disentanglement(
        data=data.name,
        split=split,
        n=len(test),
        fitted=len(train),
        seed=seed,
        factors=names,
        ordered=tuple(name for name in names if name in data.ordered),
        dimensions=len(alive),
        alive=tuple(alive.nonzero().flatten().tolist()),
        best=tuple(factor_scores.information(scores)[0].argmax(0).tolist()),
        **found,
    )


def _varying(data: Dataset, train: Split, test: Split) -> list[int]:
    """The places of the factors that have more than one value in both."""
    seen, wanted = train.factors, test.factors
    if seen is None or wanted is None:
        raise DataError(
            f"the factors that {data.name} were made from are not known; take data that bring them, such as 'shapes', or a "
            ".npz file with an array 'factors'"
        )
    if not seen.shape[1] == wanted.shape[1] == len(data.factors):
        raise DataError(f"{data.name} has {seen.shape[1]} factors and {len(data.factors)} names; give each factor a name")
    vary = (seen.amin(0) < seen.amax(0)) & (wanted.amin(0) < wanted.amax(0))
    return [int(place) for place in vary.nonzero().flatten()]


@torch.no_grad()
def _encode(model: Model, split: Split) -> tuple[Tensor, Tensor]:
    """(N, D) means and standard deviations of q(z|x), float64, of the mean over readings."""
    device = next(model.parameters()).device
    flat_prior(model, "disentanglement", None if split.context is None else split.context[:1].to(device))
    means, scales = encoded(model, split)
    return means.double(), scales.double()

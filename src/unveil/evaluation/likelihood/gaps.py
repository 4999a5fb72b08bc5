r"""Where the nats go: what the encoder loses against the best posterior of its family, and what that family loses.

.. math:: \log p(x) - \mathrm{ELBO} = \underbrace{\log p(x) - \mathrm{ELBO}(q^*)}_\text{approximation} +
    \underbrace{\mathrm{ELBO}(q^*) - \mathrm{ELBO}(q)}_\text{amortisation}

with q* the posterior of the family that is best for this very x, found by optimising the numbers that the encoder gives
for it. It is sought, not known: what is found is no better than q*, so that the first gap is from above in this respect
and the second from below.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import log
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from unveil.data import Batch, Split
from unveil.distributions.surface import Counted, surface_of
from unveil.errors import SettingError
from unveil.evaluation.bound import in_evaluation
from unveil.evaluation.figure import Figure
from unveil.evaluation.likelihood.refinement import Search, log_weights
from unveil.evaluation.watching import Watcher
from unveil.models import VAE, Model
from unveil.parts import Net
from unveil.parts.two_stage import Bounded

NUMBERS = 784 * 2_000
"""Most numbers of x decoded at a time: half of what an evaluation takes, for here a gradient is kept as well."""
BLOCK = 500
"""Most images refined at a time."""
LARGE = 0.5
"""Nats per image from which a gap is worth work."""
UNSETTLED = 0.1
"""Nats per image; more than these gained in the second half of the steps say that the first half was not enough."""
TRIED = 4
"""Steps from which it is told how long all of them will take."""
FEW = 10
"""Effective draws below which an importance-weighted estimate rests on too little."""


@dataclass(frozen=True)
class Gaps:
    """What `gaps` found, on some images of one split.

    Attributes:
        data: name of the data, and `split` which of its splits.
        fingerprint: SHA-256 over the values and labels that were used.
        seed: of binarisation, of the noise and of the subset.
        family: the head whose parameters were refined.
        steps: of the refinement, with `draws` of z for each image and step, and `improved`, the number of images for
            which a posterior better than the encoder's was found.
        samples: K, draws of z for each image in every figure, and in log p(x) where it is estimated.
        estimated: whether log p(x) is an importance-weighted estimate; if not, it was handed in and counts as exact.
        elbo: ELBO of the encoder's posterior. Unbiased, as is `refined`, that of the better of the encoder's and the
            refined posterior of each image: other draws choose than those that count.
        log_p: log p(x). An estimate is a lower bound in expectation, by about half its squared noise.
        approximation: log_p - refined, and `amortisation`, refined - elbo; both paired by image and by noise.
        late: ELBO gained in the second half of the steps.
        ess: effective number of the K draws; None where log p(x) was handed in. `weak` is the number of images with
            fewer than ten.
    """

    data: str
    split: str
    fingerprint: str
    seed: int
    family: str
    steps: int
    draws: int
    improved: int
    samples: int
    estimated: bool
    elbo: Figure
    refined: Figure
    log_p: Figure
    approximation: Figure
    amortisation: Figure
    late: Figure
    ess: Figure | None
    weak: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data for report.json."""
        return asdict(self)

    def table(self) -> list[tuple[str, str]]:
        """What the terminal prints: name, and value with error and unit."""
        source = f"importance-weighted, K = {self.samples:,}" if self.estimated else "as handed in"
        rows = [
            ("-ELBO, encoder's posterior", str(self.elbo.negative())),
            (f"-ELBO, best {self.family} for each example", str(self.refined.negative())),
            (f"-log p(x), {source}", str(self.log_p.negative())),
            ("amortisation gap", str(self.amortisation)),
            ("approximation gap", str(self.approximation)),
        ]
        return rows if self.ess is None else [*rows, ("effective draws", str(self.ess))]

    def advice(self) -> list[str]:
        """What cannot be trusted, and what the gaps say is to be changed."""
        return [*self._warnings(), *self._changes()]

    def _warnings(self) -> list[str]:
        found, count = [], self.elbo.n
        if self.late.value - 2 * self.late.stderr > UNSETTLED:
            found.append(
                f"the last half of {self.steps:,} steps still gained {self.late.value:,.2f} nats: the amortisation gap is "
                "larger than stated and the approximation gap smaller; give more steps"
            )
        if self.weak > 0.05 * count:
            found.append(
                f"fewer than {FEW} of {self.samples:,} draws count for {self.weak:,} of {count:,} examples: "
                "log p(x) is too "
                "low there, and so is the approximation gap; give more samples, or log p(x) by quadrature or annealing"
            )
        return found

    def _changes(self) -> list[str]:
        found = []
        if _large(self.amortisation):
            found.append(
                f"a better encoder would gain {self.amortisation.value:,.1f} nats or more in the ELBO, with this posterior "
                f"family and this decoder ({self.improved:,} of {self.elbo.n:,} examples gained): train longer, or give "
                "the encoder more layers or units"
            )
        if _large(self.approximation):
            found.append(
                f"the best {self.family} posteriors found stay {self.approximation.value:,.1f} nats from log p(x): take a "
                "richer one (a flow, a full covariance) or train with importance weights"
            )
        if not found:
            both = self.approximation.value + self.amortisation.value
            found.append(
                f"encoder and posterior family cost {both:,.2f} nats together: what more there is to gain lies in the "
                "decoder and the prior"
            )
        return sorted(
            found, key=lambda line: line.startswith("the best") != (self.approximation.value > self.amortisation.value)
        )


def _large(gap: Figure) -> bool:
    return gap.value > LARGE and gap.value > 2 * gap.stderr


def gaps(
    model: Model,
    split: Split,
    *,
    data: str = "",
    images: int | None = 500,
    steps: int = 400,
    draws: int = 4,
    learning_rate: float = 0.1,
    samples: int = 1000,
    log_p: Tensor | None = None,
    seed: int = 0,
    watcher: Watcher | None = None,
) -> Gaps:
    """Split log p(x) - ELBO into what the posterior family costs and what the encoder costs.

    Adam moves the numbers that the encoder's network gives for each image, all images of a block at once, since the loss
    is a sum over images; its step falls linearly to zero, and what counts is the mean of the iterates of the last half.
    The noise is a function of (seed, block, step).

    Args:
        model: a VAE whose posterior is a network and a head.
        split: the images.
        data: the data's name, for the record.
        images: how many images to take, as a function of `seed`; None for all.
        steps: of the refinement, at least 2.
        draws: of z for each image and step.
        learning_rate: Adam's, to begin with; in units of z for a posterior's mean.
        samples: K, at least 2.
        log_p: (N,) log p(x) in nats, by quadrature say, of the images of `split.sample(images, seed)` in the reading that
            `seed` gives; None for the importance-weighted estimate whose proposal is the refined posterior.
        seed: of everything random.
        watcher: told the forecast before it starts, and the progress.

    Raises:
        SettingError: another kind of model, no likelihood of x, or numbers that cannot be.

    Source: Cremer, Li & Duvenaud 2018, Inference Suboptimality in Variational Autoencoders, arXiv:1801.03558.
    """
    if steps < 2 or draws < 1 or samples < 2 or learning_rate <= 0:
        given = f"{steps} steps of rate {learning_rate} with {draws} draws, and {samples} samples"
        raise SettingError(f"{given} refine nothing; give at least 2 steps, 1 draw and 2 samples, and a positive rate")
    chosen = split.sample(images, seed)
    if log_p is not None and log_p.shape != (len(chosen),):
        raise SettingError(f"log p(x) of shape {tuple(log_p.shape)} came for {len(chosen)} examples; give one for each")
    device = next(iter(model.parameters())).device
    search = Search(steps, draws, learning_rate, seed)
    rows = max(1, NUMBERS // chosen.values[0].numel())
    found, done = [], 0
    with in_evaluation(model), torch.no_grad():
        flat, posterior = _suited(model, next(chosen.batches(1, seed)).to(device))
        for place, batch in enumerate(chosen.batches(max(1, min(BLOCK, rows // draws)), seed)):
            if watcher is not None and place == 0:
                tried = replace(search, steps=TRIED)
                started = perf_counter()
                _block(flat, posterior, batch.to(device), tried, 2, None, rows, place)
                # a step takes a pass forwards and one backwards, each of twice the products, and a draw one forwards
                work, seen = (3 * draws * n + 2 * k for n, k in ((steps, samples), (TRIED, 2)))
                watcher.forecast("gaps", (perf_counter() - started) * work / seen * len(chosen) / len(batch.x), 0)
            known = None if log_p is None else log_p[done : done + len(batch.x)]
            found.append(_block(flat, posterior, batch.to(device), search, samples, known, rows, place))
            done += len(batch.x)
            if watcher is not None:
                watcher.done(done, len(chosen))
    each = {name: torch.cat([block[name] for block in found]) for name in found[0]}
    estimated = log_p is None
    return Gaps(
        data=data,
        split=split.name,
        fingerprint=chosen.digest().hex(),
        seed=seed,
        family=type(posterior.head).__name__,
        steps=steps,
        draws=draws,
        improved=int(each["improved"].sum()),
        samples=samples,
        estimated=estimated,
        elbo=_figure(each, "elbo"),
        refined=_figure(each, "refined"),
        log_p=_figure(each, "log_p"),
        approximation=_figure(each, "approximation"),
        amortisation=_figure(each, "amortisation"),
        late=_figure(each, "late"),
        ess=Figure.over(each["ess"], "draws") if estimated else None,
        weak=int((each["ess"] < FEW).sum()) if estimated else 0,
    )


def _figure(each: dict[str, Tensor], name: str) -> Figure:
    """The mean over images of what each image has a mean of its own draws for, and the variance of that mean."""
    return Figure.over(each[name], noise=each[f"{name} noise"])


def _suited(model: Model, batch: Batch) -> tuple[VAE, Net]:
    """The model and its posterior, if it is one whose posterior can be refined; `batch` holds one image to try it on."""
    if not isinstance(model, VAE) or not isinstance(model.posterior, Net):
        kind = type(model.posterior if isinstance(model, VAE) else model).__name__
        raise SettingError(
            f"the gaps are those of one layer of z whose posterior is a network and a head, and a {kind} is none; "
            "take Net(network, head)"
        )
    if not model.normalised:
        raise SettingError(
            "there is no log p(x) under a cross-entropy of gray values, and so no gap to it; take binarised images, or "
            "ContinuousBernoulli()"
        )
    draw = model.draw(batch)
    name = type(draw.posterior).__name__
    if not draw.rated:
        raise SettingError(f"the ELBO is minus infinity under {name}, which has no density; take Gaussian()")
    if draw.posterior is None or not draw.covers or isinstance(surface_of(draw.posterior), Counted):
        raise SettingError(f"a posterior over codes or classes cannot be refined by gradients, and {name} is one")
    if isinstance(draw.prior, Bounded):
        raise SettingError("log p(x) needs the density of p(z), and that of a second stage is known by a bound alone")
    return model, model.posterior


def _block(
    model: VAE, posterior: Net, batch: Batch, search: Search, samples: int, log_p: Tensor | None, rows: int, place: int
) -> dict[str, Tensor]:
    """What is found for each image of a block, (B,) each on the CPU, with the variances of what is a mean over draws."""
    head, key = posterior.head, (search.seed, "gaps", place)
    start = posterior.network(*([batch.x] if batch.context is None else [batch.x, batch.context]))
    better = search.best(model, head, start, batch, rows, place)
    elbo, refined = log_weights(model, head, [start, better.numbers], batch, samples, rows, key)
    means = {"elbo": elbo, "refined": refined, "amortisation": refined - elbo, "late": better.late}
    found = {"improved": better.improved.cpu()}
    if log_p is None:
        share = torch.softmax(refined, 0)
        # to first order the logarithm of a mean of weights is a mean of weights over their mean
        relative = samples * share
        found |= {"log_p": refined.logsumexp(0) - log(samples), "ess": 1 / share.square().sum(0)}
        noise = {"log_p noise": _noise(relative), "approximation noise": _noise(relative - refined)}
    else:
        found["log_p"] = log_p.cpu().double()
        noise = {"log_p noise": torch.zeros(len(log_p)), "approximation noise": _noise(refined)}
    found |= noise
    for name, values in means.items():
        found |= {name: values.mean(0), f"{name} noise": _noise(values)}
    return found | {"approximation": found["log_p"] - found["refined"]}


def _noise(values: Tensor) -> Tensor:
    """(B,) the variance of the mean of `values` (K, B) over draws."""
    return values.var(0) / len(values)

"""How like data samples are, as a classifier sees them: distances, precision and recall, density and coverage.

Every figure depends on how many images it is over, and not one of them is perfect for perfect samples. Beside each
therefore stands its floor: the same figure for as many training images, which is what as many new data give. Precision
and density can lie above it: samples that crowd where the data are densest do so, and reach less of the data.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from unveil.data import Dataset, Split
from unveil.errors import SettingError
from unveil.evaluation.figure import Figure, share
from unveil.evaluation.samples.classifier import SHAPE, DigitClassifier, facts, look, shipped
from unveil.evaluation.samples.drawn import drawn, held_out, read_alike
from unveil.evaluation.samples.frechet import frechet
from unveil.evaluation.samples.kernel import kernel_distance
from unveil.evaluation.samples.support import NEIGHBOURS, support
from unveil.models import Model
from unveil.words import counted

FEWEST = 100
"""Images below which no figure here tells anything."""
FAR, MUCH = 5.0, 0.05
"""Standard errors and share by which a figure must miss its floor before anything is said of it.

Student's t with 19 degrees of freedom, which the errors of `support` have, is below -5 with a chance of 4e-5.
"""
ENOUGH = 0.9
"""Accuracy of the classifier on the data below which they are no images of digits as it knows them."""


@dataclass(frozen=True)
class Likeness:
    """Two sets of as many images, held against each other in feature space.

    Attributes:
        frechet: the Fréchet distance at this n; biased upwards.
        frechet_limit: the same without its bias of order 1 / n.
        kernel: the kernel distance; unbiased.
        precision: share of the first set that lies where the second does, and `recall` the reverse.
        density: how crowded the second set is where the first one lies, 1 for sets of one distribution.
        coverage: share of the second set with one of the first nearby.
    """

    frechet: Figure
    frechet_limit: Figure
    kernel: Figure
    precision: Figure
    recall: Figure
    density: Figure
    coverage: Figure


@dataclass(frozen=True)
class Quality:
    """What `quality` found.

    Attributes:
        data: name of the data, and `split` which of its splits the samples are held against.
        fingerprint: SHA-256 over the values and labels of that split that were used.
        measure: how samples and data were read: 'binary' where both are binarised.
        n: images of each set.
        seed: of the samples, of binarisation and of the subsets.
        neighbours: k of precision, recall, density and coverage.
        classifier: SHA-256 of its weights.
        samples: samples against the split.
        floor: as many training images against it.
        known: accuracy of the classifier on the split; None where there are no labels.
        obeyed: share of samples that it takes for the class they were asked to be; None for a model without classes.
    """

    data: str
    split: str
    fingerprint: str
    measure: str
    n: int
    seed: int
    neighbours: int
    classifier: str
    samples: Likeness
    floor: Likeness
    known: Figure | None
    obeyed: Figure | None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for report.json."""
        return asdict(self)

    def table(self) -> list[tuple[str, str]]:
        """Name and value of each figure, with its error and its floor."""
        rows = [("images", f"{self.n:,} samples against {self.n:,} of {self.data} {self.split}, {self.measure}")]
        for name, title in TITLES.items():
            found, floor = getattr(self.samples, name), getattr(self.floor, name)
            rows.append((title, f"{text(found)} (training images: {text(floor)})"))
        if self.known is not None:
            rows.append(("classifier right on data", text(self.known)))
        if self.obeyed is not None:
            rows.append(("samples of the class asked for", text(self.obeyed)))
        return rows

    def advice(self) -> list[str]:
        """What the figures suggest, in plain sentences; nothing where samples are as training images are."""
        said = []
        if self.known is None:
            said.append(
                "these data have no labels, so nothing tells whether the classifier, which knows digits, suits them"
            )
        elif self.known.value < ENOUGH:
            said.append(
                f"the classifier knows {self.known.value:.0%} of these images: it was made for MNIST's digits, and the "
                "figures in its features say little here"
            )
        if self.n < 5_000:
            said.append(f"with {self.n:,} images the Fréchet distance is biased upwards; compare it at the same n alone")
        if falls_short(self.samples.precision, self.floor.precision):
            said.append(
                f"{1 - self.samples.precision.value:.0%} of the samples lie where no data are, and "
                f"{1 - self.floor.precision.value:.0%} of training images do: the prior puts mass where q(z|x) has none, "
                "or the decoder is too weak; fit a prior to the encodings (`unveil refit-prior`) or raise the capacity"
            )
        if falls_short(self.samples.coverage, self.floor.coverage):
            said.append(
                f"{1 - self.samples.coverage.value:.0%} of the data have no sample nearby, and "
                f"{1 - self.floor.coverage.value:.0%} have no training image: the samples leave out kinds of images, or "
                "are all a little off; look at precision to tell which, and at more latent dimensions"
            )
        if falls_short(self.floor.density, self.samples.density) and falls_short(self.samples.recall, self.floor.recall):
            said.append(
                f"samples crowd where the data are densest, with a density of {self.samples.density.value:.2f} where "
                f"training images have {self.floor.density.value:.2f}, and reach {self.samples.recall.value:.0%} of the "
                f"data, not {self.floor.recall.value:.0%}: they vary less than the data do; look for a prior "
                "narrower than the encodings, and lower the weight of the rate"
            )
        if self.obeyed is not None and self.known is not None and falls_short(self.obeyed, self.known):
            said.append(
                f"the classifier takes {1 - self.obeyed.value:.0%} of the samples for another class than was asked for, "
                f"and errs on {1 - self.known.value:.1%} of the data: z still holds the class; raise the weight of the rate"
            )
        return said


TITLES = {
    "frechet": "Fréchet distance",
    "frechet_limit": "Fréchet distance, n to infinity",
    "kernel": "kernel distance",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}


def text(figure: Figure) -> str:
    """A figure with as many digits as its error leaves a meaning to."""
    known = isfinite(figure.stderr) and figure.stderr > 0
    pair = figure.pair(most=8) if known else f"{figure.value:.4f} ± unknown"
    return pair if figure.unit in ("", "share") else f"{pair} {figure.unit}"


def falls_short(found: Figure, floor: Figure) -> bool:
    """Whether a figure is below its floor by more than chance and by enough to matter."""
    gap, error = floor.value - found.value, (found.stderr**2 + floor.stderr**2) ** 0.5
    return gap > MUCH and gap > FAR * error  # never, where an error is unknown


def likeness(samples: Tensor, data: Tensor, k: int = NEIGHBOURS) -> Likeness:
    """All figures of features (N, F) of samples against (M, F) of data."""
    distance, place = frechet(samples, data), support(samples, data, k)
    kernel = kernel_distance(samples, data)
    return Likeness(distance.distance, distance.limit, kernel, place.precision, place.recall, place.density, place.coverage)


def quality(
    model: Model,
    data: Dataset,
    *,
    split: str = "test",
    n: int = 10_000,
    seed: int = 0,
    classifier: DigitClassifier | None = None,
) -> Quality:
    """Hold samples of a model against a split that it has not seen, and training images against the same.

    Samples and data are read alike: binarised once as a function of `seed` where the data are, or gray. A conditional
    model is given the labels of the training images that stand beside its samples, so that all sets are independent and
    mix the classes alike.

    Args:
        model: what makes samples, `model.sample(n, context, seed=seed)`.
        data: what it was trained on, with the contexts of its splits where it is conditioned.
        split: what the samples are held against, not 'train'.
        n: images of each set; as many as the smaller of the two splits has, if that is fewer.
        seed: of everything random.
        classifier: another one than is shipped with the package.

    Raises:
        SettingError: images that are not 28x28 with one channel, fewer than 100 of them, or a split that is not held out.
        DataError: the shipped classifier is damaged.
    """
    if data.space.shape != SHAPE or not data.space.is_image:
        raise SettingError(
            f"samples are judged by a classifier that is for MNIST-like images only, 1x28x28 in gray or black and white; "
            f"{data.name} is {data.space}"
        )
    held, train = held_out(data, split), data.train
    count = min(n, len(held), len(train))
    if count < FEWEST:
        raise SettingError(f"{counted(count, 'image')} cannot judge samples; give at least {FEWEST}")
    network = shipped() if classifier is None else classifier
    held, train = held.sample(count, seed), train.sample(count, seed)
    x = drawn(model, train, seed)
    held, train = read_alike(held, x), read_alike(train, x)

    def seen(images: Tensor) -> tuple[Tensor, Tensor]:
        return look(network, images / data.space.white)

    (made, decided), (real, read), (beside, _) = seen(x), seen(held.fixed(seed)), seen(train.fixed(seed))
    wanted = asked(train)
    return Quality(
        data=data.name,
        split=held.name,
        fingerprint=held.digest().hex(),
        measure=held.reading.measure,
        n=count,
        seed=seed,
        neighbours=NEIGHBOURS,
        classifier=facts()["sha256"] if classifier is None else "of your own",
        samples=likeness(made, real),
        floor=likeness(beside, real),
        known=None if held.labels is None else share(int(read.eq(held.labels).sum()), count),
        obeyed=None if wanted is None else share(int(decided.eq(wanted).sum()), count),
    )


def asked(split: Split) -> Tensor | None:
    """(N,) the labels of a split where its contexts are those, one-hot; None where a model is asked for no class."""
    if split.context is None or split.labels is None or bool((split.labels < 0).any()):
        return None
    classes = split.context.shape[1]
    if int(split.labels.max()) >= classes:
        return None
    return split.labels if torch.equal(split.context, one_hot(split.labels, classes).float()) else None

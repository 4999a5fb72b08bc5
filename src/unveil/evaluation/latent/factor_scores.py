"""Four scores of how an encoding arranges known factors: MIG, SAP, DCI and the FactorVAE score, from arrays alone.

Each takes `Known` examples, means (N, D) of q(z|x) beside factors (N, F), and gives numbers whose mean is the score. What a
definition fits is fitted on `train` and scored on `test`. A dimension that is the same everywhere tells nothing, and
every score is the same when dimensions change places or are rescaled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import log, prod

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from unveil.errors import DataError, SettingError
from unveil.randomness import generator, key
from unveil.words import counted

BINS = 20
"""Cells of equal width between the smallest and the largest mean of a dimension, as in the literature's comparisons."""
TREES = 20
LEAF = 5
"""Least rows in a leaf of DCI's trees: single rows would be told apart by whatever dimension happens to do it."""
VOTES = 200
"""Votes for each factor, of the FactorVAE score."""
TOGETHER = 64
"""Examples with one factor in common, in each vote."""
FEWEST = 5
"""Least examples to a value of a factor, in the mean."""
OTHERS = 20
"""Least examples without the commonest value of a factor: a resample that has none of them is out of the question."""


@dataclass(frozen=True)
class Known:
    """N examples whose factors are known.

    Attributes:
        means: (N, D) float64, the mean of q(z|x).
        factors: (N, F) int64.
        ordered: for each factor, whether its values are in order, as sizes are; else they are classes.

    Raises:
        SettingError: means that are not finite, or fewer than two dimensions or factors.
        DataError: rows that do not belong together.
    """

    means: Tensor
    factors: Tensor
    ordered: tuple[bool, ...]

    def __post_init__(self) -> None:
        (size, width), (rows, count) = self.means.shape, self.factors.shape
        if rows != size or len(self.ordered) != count:
            raise DataError(f"{size} means have {rows} rows of {count} factors, {len(self.ordered)} of them described")
        if width < 2 or count < 2:
            raise SettingError(
                f"z of {counted(width, 'dimension')} and {counted(count, 'factor')} have no disentanglement; at least two "
                "of each are needed"
            )
        if not bool(torch.isfinite(self.means).all()):
            raise SettingError("there are means of z that are not finite; look at the model, not at its disentanglement")

    def __len__(self) -> int:
        return len(self.means)

    def check(self, names: Sequence[str]) -> None:
        """See that every factor, by its name, has examples enough for a score and its error.

        Raises:
            DataError: too few examples for the values of a factor, or almost all of one value.
        """
        for name, column in zip(names, self.factors.T, strict=True):
            counts = column.unique(return_counts=True)[1]
            if len(counts) > len(self) // FEWEST or len(self) - counts.max() < OTHERS:
                raise DataError(
                    f"{len(self)} examples are too few for the factor {name!r} with {len(counts)} values, the commonest of "
                    f"them {counts.max()} times; take {FEWEST} examples for each value and {OTHERS} without the commonest"
                )

    def rows(self, chosen: Tensor) -> Known:
        """The examples at positions `chosen`."""
        return replace(self, means=self.means[chosen], factors=self.factors[chosen])

    def resampled(self, *parts: int | str) -> Known:
        """As many examples drawn with replacement, as a function of `parts`."""
        return self.rows(torch.randint(len(self), (len(self),), generator=generator(*parts)))

    def permuted(self, *parts: int | str) -> Known:
        """The same means, each beside another example's factors: an encoding that knows nothing of them."""
        return replace(self, means=self.means[torch.randperm(len(self), generator=generator(*parts))])


Score = Callable[[Known, Known, int], dict[str, Tensor]]
"""Train, test and a seed to named numbers: one for each factor, (F,), or one in all, (1,); their mean is the score."""


def entropy(counts: Tensor, dims: tuple[int, ...]) -> Tensor:
    r"""Nats, from counts over the cells along `dims`.

    .. math:: -\sum_c \hat p_c \log \hat p_c + (m - 1) / 2 N

    with m cells that are not empty. The second summand takes away the bias of the first one to order 1 / N; it is therefore
    nearly unbiased where N is a few times the number of cells.

    Source: Miller 1955, Note on the Bias of Information Estimates.
    """
    total = counts.sum(dims, keepdim=True)
    shares = counts / total
    plain = -torch.xlogy(shares, shares).sum(dims)
    return plain + ((counts > 0).sum(dims) - 1) / (2 * total.reshape(plain.shape))


def information(known: Known) -> tuple[Tensor, Tensor]:
    """(D, F) I(z_d; v_f) in nats, z_d in `BINS` cells, and (F,) the entropy of each factor.

    Between independent variables the corrected estimate is about zero, and may be a little below; between a factor and a
    dimension that separates its values it is the factor's entropy.
    """
    low, high = known.means.amin(0), known.means.amax(0)
    width = torch.where(high > low, high - low, 1.0)
    cells = ((known.means - low) / width * BINS).long().clamp(max=BINS - 1)
    cells += BINS * torch.arange(cells.shape[1])  # each dimension's own
    shared, own = [], []
    for column in known.factors.T:
        kinds, values = column.unique(return_inverse=True)
        size = (cells.shape[1], BINS, len(kinds))
        pairs = (cells * len(kinds) + values[:, None]).flatten()
        counts = torch.bincount(pairs, minlength=prod(size)).reshape(size).double()
        of_value = entropy(counts.sum(1), (1,))  # the same for every dimension
        shared.append(entropy(counts.sum(2), (1,)) + of_value - entropy(counts, (1, 2)))
        own.append(of_value[0])
    return torch.stack(shared, 1), torch.stack(own)


def gap(scores: Tensor) -> Tensor:
    """(F,) how far the best of D dimensions is ahead of the second, for scores (D, F)."""
    best, second = scores.topk(2, 0).values
    return best - second


def mig(train: Known, test: Known, seed: int = 0) -> dict[str, Tensor]:
    r"""'mig': the mutual information gap, as a share of each factor's entropy. Nothing is fitted: `train` is not looked at.

    .. math:: \frac{1}{F} \sum_f \frac{I(z_{(1)}; v_f) - I(z_{(2)}; v_f)}{H(v_f)}

    where (1) and (2) are the dimensions that tell most of factor f. Of the means in 20 cells of equal width, and not of
    draws of z as in the source; the bias of entropies from counts is taken away to first order.

    Source: Chen et al. 2018, Isolating Sources of Disentanglement in Variational Autoencoders, arXiv:1802.04942.
    """
    shared, own = information(test)
    return {"mig": gap(shared) / own}


def sap(train: Known, test: Known, seed: int = 0) -> dict[str, Tensor]:
    """'sap': how much better one dimension alone predicts a factor than any other does, on examples it was not fitted to.

    A factor in order is predicted by a line, and scored by R². Classes are told apart by thresholds, one fewer than there
    are classes, and scored by balanced accuracy above chance, so that 0 is a guess and 1 is faultless: in the source a dead
    dimension scores 0 and an uninformative one 1 / classes, here both score 0. Below zero counts as zero.

    Source: Kumar et al. 2018, Variational Inference of Disentangled Latent Concepts from Unlabeled Observations,
    arXiv:1711.00848, which scores the examples that it fits.
    """
    from sklearn.tree import DecisionTreeClassifier

    train, test = _standard(train, test)
    columns = []
    for place, ordered in enumerate(train.ordered):
        seen, wanted = train.factors[:, place], test.factors[:, place]
        if ordered:
            target = seen.double() - seen.double().mean()
            slopes = train.means.T @ target / len(train)  # the means are standard
            columns.append(_r2(wanted, test.means * slopes + seen.double().mean()))
            continue
        found = []
        for fitted, scored in zip(train.means.T, test.means.T, strict=True):
            tree = DecisionTreeClassifier(max_leaf_nodes=len(seen.unique()), class_weight="balanced", random_state=0)
            tree.fit(fitted[:, None].numpy(), seen.numpy())
            found.append(_accuracy(wanted, torch.from_numpy(tree.predict(scored[:, None].numpy()))))
        columns.append(torch.stack(found))
    return {"sap": gap(torch.stack(columns, 1))}


def dci(train: Known, test: Known, seed: int = 0) -> dict[str, Tensor]:
    r"""'disentanglement' (1,), 'completeness' (F,) and 'informativeness' (F,).

    A random forest predicts each factor from all dimensions. R_df is the share of dimension d in the decrease of impurity
    by the forest for factor f; its columns sum to one.

    .. math:: \sum_d \frac{\sum_f R_{df}}{\sum_{df} R_{df}} (1 - H_F(R_{d \cdot})), \quad
        \frac{1}{F} \sum_f (1 - H_D(R_{\cdot f}))

    with entropies of the normalised row to the base F, the number of factors it is spread over, and of the column to the
    base D. Informativeness is scored on `test`: R² where the values are in order, else balanced accuracy above chance.

    Source: Eastwood & Williams 2018, A Framework for the Quantitative Evaluation of Disentangled Representations.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    train, test = _standard(train, test)
    shares, told = [], []
    for place, ordered in enumerate(train.ordered):
        kind = RandomForestRegressor if ordered else RandomForestClassifier
        # all dimensions stand for choice at every split, else trees are made to use those that tell nothing
        forest = kind(TREES, max_features=None, min_samples_leaf=LEAF, random_state=key(seed, "forest", place) % 2**32)
        forest.fit(train.means.numpy(), train.factors[:, place].numpy())
        shares.append(torch.from_numpy(forest.feature_importances_))
        predicted, wanted = torch.from_numpy(forest.predict(test.means.numpy())), test.factors[:, place]
        told.append(_r2(wanted, predicted[:, None])[0] if ordered else _accuracy(wanted, predicted))
    disentangled, complete = concentration(torch.stack(shares, 1))
    return {"disentanglement": disentangled, "completeness": complete, "informativeness": torch.stack(told)}


def concentration(shares: Tensor) -> tuple[Tensor, Tensor]:
    """Disentanglement (1,) and completeness (F,), for importances (D, F), none negative, with columns that sum to one.

    A dimension of no importance counts for nothing, and a factor that nothing is important for is not complete.
    """

    def spread(along: int) -> Tensor:
        total = shares.sum(along, keepdim=True)
        parts = shares / torch.where(total > 0, total, 1.0)
        return -torch.xlogy(parts, parts).sum(along) / log(shares.shape[along])

    mass = shares.sum(1) / shares.sum().clamp(min=torch.finfo(torch.float64).tiny)
    complete = torch.where(shares.sum(0) > 0, 1 - spread(0), 0.0)
    return (mass * (1 - spread(1))).sum().reshape(1), complete


def factor_vae(train: Known, test: Known, seed: int = 0) -> dict[str, Tensor]:
    """'factor_vae': how often the dimension that varies least tells which factor was held fixed, for each factor.

    A vote takes 64 examples, drawn with replacement, that have one value of one factor in common, and names the dimension
    whose variance among them is the smallest share of its variance over all of `train`; constant dimensions are left out.
    The majority of 200 votes for each factor on `train` says which factor a dimension stands for; the score is the accuracy
    of as many votes on `test`. Chance is 1 / F.

    Source: Kim & Mnih 2018, Disentangling by Factorising, arXiv:1802.05983.
    """
    alive = train.means.amax(0) > train.means.amin(0)
    if not alive.any():
        return {"factor_vae": torch.full((len(train.ordered),), 1 / len(train.ordered), dtype=torch.float64)}
    scale = train.means[:, alive].var(0)
    tally = [_votes(known, alive, scale, key(seed, "votes", side)) for side, known in (("train", train), ("test", test))]
    meaning = tally[0].argmax(0)  # (D,) a dimension that was never named means the first factor
    right = one_hot(meaning, len(tally[0])).T * tally[1]
    return {"factor_vae": right.sum(1) / VOTES}


def _votes(known: Known, alive: Tensor, scale: Tensor, seed: int) -> Tensor:
    """(F, D) how often each dimension varied least while each factor was fixed."""
    tally = []
    for place, values in enumerate(known.factors.T):
        source = generator(seed, place)
        order = values.argsort(stable=True)
        value = values[torch.randint(len(known), (VOTES, 1), generator=source)]  # as often as it occurs
        first, last = (torch.searchsorted(values[order], value, right=right) for right in (False, True))
        within = torch.rand(VOTES, TOGETHER, generator=source, dtype=torch.float64) * (last - first)
        chosen = order[first + within.long()]
        variance = known.means[:, alive][chosen].var(1) / scale
        tally.append(torch.bincount(variance.argmin(1), minlength=int(alive.sum())).double())
    return torch.stack(tally)


def _standard(train: Known, test: Known) -> tuple[Known, Known]:
    """Both, with each dimension of mean 0 and variance 1 over `train`: trees compare in float32."""
    mean, scale = train.means.mean(0), train.means.std(0, correction=0)
    scale = torch.where(train.means.amax(0) > train.means.amin(0), scale, torch.inf)
    return (
        replace(train, means=(train.means - mean) / scale),
        replace(test, means=(test.means - mean) / scale),
    )


def _r2(wanted: Tensor, predicted: Tensor) -> Tensor:
    """(D,) the share of the variance of `wanted` (N,) that each column of `predicted` (N, D) explains; at least 0."""
    target = wanted.double()
    left = (target[:, None] - predicted).square().mean(0) / target.var(correction=0)
    return (1 - left).clamp(min=0)


def _accuracy(wanted: Tensor, predicted: Tensor) -> Tensor:
    """The mean over classes of the share of `wanted` (N,) that was predicted, from 0 at chance to 1; at least 0."""
    classes = wanted.unique()
    right = torch.stack([(predicted[wanted == one] == one).double().mean() for one in classes])
    return ((right.mean() - 1 / len(classes)) / (1 - 1 / len(classes))).clamp(min=0)

"""Terms that read across the batch: the aggregate posterior that they estimate, and how much each example counts in it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import log

import torch
from torch import Tensor

from unveil.data import Batch
from unveil.distributions import DiagonalGaussian
from unveil.models import VAE, Draw
from unveil.objectives import Term
from unveil.part import Part
from unveil.parts import Isotropic, Net, Standard
from unveil.verify.check import Gap, Law, NotApplicable
from unveil.verify.invariance import NEAR
from unveil.verify.subject import Subject, leaves, picked
from unveil.verify.toy import Affine, ask, drawn, latent_of, scripted, toy

SIZE = 8
"""Examples of a batch that is put in another order."""
REPEATS = 64
"""Evaluations of a term that draws noise of its own."""
SET, PARTS = 6, (2, 3, 5)
"""Examples of a tiny set, and sizes of the minibatches that it is seen through."""
WHOLE = 24
"""Examples of a full batch by which it is told which part of the rate a term is."""
ALIKE = 0.3
"""Share of that part's spread over examples that a term may be off, to be taken for it."""
APART = 40.0
"""How far apart, in standard deviations, posteriors are that do not see each other."""


def places(subject: Subject) -> list[Gap]:
    """The losses of a toy's batch in another order, by the same z."""
    objective, known = subject.objective, toy(latent_of(subject), subject.seed, 1.2)
    batch = known.batch(SIZE, subject.seed, objective.samples or 1)
    order = torch.randperm(SIZE, generator=subject.generator("places"))
    found = []
    for repeat in range(REPEATS * subject.effort):
        row = []
        for given in (batch, picked(batch, order)):
            draw = drawn(objective, known.model, given)
            subject.reseed("places", repeat)
            row.append(ask(objective, known.model, draw))
        found.append(row[1] - row[0][order])
        if repeat == 1 and torch.equal(found[0], found[1]):
            found = [found[0]] * 2  # no noise of its own: once is enough
            break
    apart = torch.stack(found)
    slack = 1e-3 + NEAR * float(row[0].abs().max())
    return [Gap.over(f"the loss in another place of the batch, example {n}", apart[:, n], slack) for n in range(SIZE)]


class Spread(Part):
    """q(z|x) whose means and log-scales stand in x, with the noise of its draws as context."""

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> DiagonalGaussian:
        assert given is not None
        loc, log_scale = given.chunk(2, -1)
        return scripted(loc, log_scale, context)


@dataclass(frozen=True)
class _Tiny:
    """A set of posteriors.

    Attributes:
        model: what draws from them.
        batch: all of them, with the noise of one draw each.
    """

    model: VAE
    batch: Batch

    def draw(self, rows: Tensor | None = None) -> Draw:
        """One draw of each, or of those at `rows`."""
        return self.model.draw(self.batch if rows is None else picked(self.batch, rows))


def _tiny(subject: Subject, latent: int, size: int, told_by: int | None = None, alike: int | None = None) -> _Tiny:
    """A set over `latent` dimensions, of which `told_by` tells each example, and those from `alike` on tell none."""
    source = subject.generator("tiny")
    loc = torch.randn(size, latent, generator=source)
    log_scale = 0.3 * torch.randn(size, latent, generator=source) - 0.3
    if told_by is not None:
        loc[:, told_by], log_scale[:, told_by] = APART * torch.arange(size), 0.0
    if alike is not None:
        loc[:, alike:], log_scale[:, alike:] = loc[:1, alike:], log_scale[:1, alike:]
    likelihood = Net(Affine(torch.zeros(2 * latent, latent), torch.zeros(2 * latent)), Isotropic(learned=False))
    noise = torch.randn(size, latent, generator=source)
    batch = Batch(torch.cat([loc, log_scale], 1), torch.arange(size), size, context=noise)
    return _Tiny(VAE(Standard(latent), Spread(), likelihood).eval(), batch)


def _densities(draw: Draw) -> Tensor:
    """(B, B, D) log q(z_d|x_j) at the z of each example, float64."""
    posterior = draw.posterior
    assert isinstance(posterior, DiagonalGaussian)
    wide = DiagonalGaussian(posterior.loc.double(), posterior.log_scale.double())
    return wide.log_probs(draw.z[0][0].double().unsqueeze(1))


def _log_prior(draw: Draw) -> Tensor:
    """(B, D) log p(z_d)."""
    assert isinstance(draw.prior, DiagonalGaussian)
    return draw.prior.log_probs(draw.z[0][0]).double()


def _parts(draw: Draw) -> dict[str, Tensor]:
    """(B,) the three parts of the rate at a full batch, by sums over the set."""
    each, count = _densities(draw), log(len(draw.batch.x))
    own = each.sum(-1).diagonal()
    whole, alone = each.sum(-1).logsumexp(1) - count, (each.logsumexp(1) - count).sum(-1)
    return {
        "mutual information": own - whole,
        "total correlation": whole - alone,
        "dimension-wise rate": alone - _log_prior(draw).sum(-1),
    }


@torch.no_grad()
def aggregate(subject: Subject) -> list[Gap]:
    """A part of the rate at a full batch, and the aggregate posterior that its minibatches estimate."""
    latent = max(2, latent_of(subject))
    gaps = []
    coupled = [term for term in leaves(subject.objective) if term.couples]
    if not coupled:
        raise NotApplicable("no term of the objective reads across the batch")
    for term in coupled:
        tiny = _tiny(subject, latent, WHOLE)
        draw = tiny.draw()
        try:
            value = ask(term, tiny.model, draw).double()
        except NotApplicable:
            continue
        # a constant is no matter of gradients, and weights that do not sum to 1 add one
        parts = _parts(draw)
        shares = {kind: _middling(value - part) / _middling(part) for kind, part in parts.items()}
        kind = min(shares, key=lambda one: shares[one])
        if not shares[kind] < ALIKE:
            continue
        apart = value - parts[kind]
        off = float((apart - apart.median()).abs().max())
        gaps.append(Gap(f"{type(term).__name__} at a full batch, against the {kind} by sums", off, slack=1e-3))
        gaps += _minibatches(subject, term, kind, latent)
    if not gaps:
        raise NotApplicable("no term that reads across the batch is a part of the rate")
    return gaps


def _middling(values: Tensor) -> float:
    """The median distance from the median: a few examples that are far off do not hide what a term is meant to be."""
    return float((values - values.median()).abs().median())


def _minibatches(subject: Subject, term: Term, kind: str, latent: int) -> list[Gap]:
    """The density that a term tells, averaged over all minibatches that contain an example, against the sum over the set.

    The mutual information tells q(z). The dimension-wise rate tells that of one dimension where the others are alike for
    all examples. So does the total correlation of the second one where the first tells each example: what is left of it is
    log q(z_2|x) - log q(z_2). Weights that are alike for all examples of a minibatch are biased, and by how much is known.
    """
    told_by, alike = {"mutual information": (None, None), "dimension-wise rate": (None, 1)}.get(kind, (0, 2))
    tiny = _tiny(subject, latent, SET, told_by, alike)
    each = _densities(tiny.draw())
    seen = each.sum(-1) if kind == "mutual information" else each[..., 0 if kind == "dimension-wise rate" else 1]
    own, everyone = seen.diagonal(), seen.exp().sum(1)
    gaps = []
    for size in PARTS:
        total, count = torch.zeros(SET).double(), torch.zeros(SET).double()
        for rows in map(list, combinations(range(SET), size)):
            draw = tiny.draw(torch.tensor(rows))
            value = ask(term, tiny.model, draw).double()
            if kind == "dimension-wise rate":
                rest = _densities(draw).diagonal().T[:, 1:].sum(-1)
                total[rows] += (value + _log_prior(draw).sum(-1) - rest).exp()
            else:
                total[rows] += (own[rows] - value).exp()
            count[rows] += 1
        others = everyone - own.exp()
        kinds = {"the sum over the set": everyone, "what equal weights give": own.exp() + (size - 1) / (SET - 1) * others}
        off, against = min((_deviation(total / count, exact), name) for name, exact in kinds.items())
        what = f"{type(term).__name__}: q(z) of an example over all minibatches of {size}, against {against}"
        gaps.append(Gap(what, off, slack=5e-3, unit="of its size"))
    return gaps


def _deviation(one: Tensor, other: Tensor) -> float:
    """The largest, but for a factor that all share."""
    ratio = one / other
    return float((ratio / ratio.median() - 1).abs().max())


LAWS = (
    Law(
        "place in the batch",
        "An example's loss does not depend on its place in the batch.",
        places,
        "Let weights that an example has of its own stand on the diagonal of the batch by the batch, not in a column.",
    ),
    Law(
        "aggregate",
        "A part of the rate is at a full batch what sums over all examples give, and the q(z) of its minibatches is the "
        "aggregate posterior in the mean.",
        aggregate,
        "Give an example the weight 1 / N at its own z, and each of the others (N - 1) / (N (B - 1)).",
    ),
)

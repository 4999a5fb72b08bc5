"""Samples against densities: what a distribution draws must be what its log_prob speaks of.

Of p(x|z) two identities of its score in z are held, of counted x the odds of every value of an entry; of p(z) and q(z|x)
an importance identity, E[g(z) / p(z)] = 1 for any normalised g inside p, and a balance of moves.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.distributions import surface_of
from unveil.verify.check import NOTE, Gap, Law, NotApplicable, note
from unveil.verify.moves import Density, balance, fitted, importance
from unveil.verify.subject import Subject, picked

PLACES = 4
"""Values of z that p(x|z) is looked at, or examples whose q(z|x) is."""
DRAWN = 256
"""Samples of x at each of them."""
ENTRIES = 8
"""Entries of x that are given other values."""
CALLS, EACH = 64, 16
"""Calls of a sampler, and samples asked for in each: few, so that one which always begins anew is seen to."""
POSTERIOR = 512
"""Draws of each example's z."""
MOST = 2_000
"""Largest count that is tried."""


def likelihood(subject: Subject) -> list[Gap]:
    r"""The identities of a normalised density, E[s] = 0 and E[s^2 + s'] = 0, of its score along a random direction of z.

    .. math:: s = \frac{d}{d\epsilon} \log p(x | z + \epsilon v), \quad x \sim p(x|z)
    """
    gaps, n = [], DRAWN * subject.effort
    for place, (z, context) in enumerate(_places(subject)):
        v = torch.randn(z.shape, generator=subject.generator("direction", place))
        output = subject.model.decode(z.expand(n, *z.shape), _spread(context, n))
        subject.reseed("x", place)
        with torch.no_grad():
            x = output.sample()
        if not _speaks_of(subject, x):
            raise NotApplicable("the likelihood says that it is none of x")
        step = torch.zeros(n, requires_grad=True)
        moved = z + step.reshape(-1, *[1] * z.dim()) * v
        nats = subject.model.decode(moved, _spread(context, n)).log_prob(x)
        (score,) = torch.autograd.grad(nats.sum(), step, create_graph=True)
        curve = torch.zeros_like(score)
        if score.requires_grad:
            (curve,) = torch.autograd.grad(score.sum(), step, allow_unused=True, materialize_grads=True)
        score, curve = score.detach().double(), curve.double()
        unit = float(score.square().mean().sqrt())
        if unit < 1e-6:
            continue
        # a rare value of x with a large score may not have been drawn: small shares are of no consequence
        gaps.append(Gap.over(f"E of the score of p(x|z), z no. {place}", score / unit, 0.05, "of its deviation"))
        both = (score.square() + curve) / unit**2
        gaps.append(Gap.over(f"E of score² + curvature of p(x|z), z no. {place}", both, 0.15, "of score²"))
    gaps += _whole(subject)
    if all(gap.unit == NOTE for gap in gaps):
        raise NotApplicable("p(x|z) does not depend on z here, and x is not of a kind whose density could be summed")
    return gaps


@torch.no_grad()
def _whole(subject: Subject) -> list[Gap]:
    """The integral of p(x|z) by a g fitted to other samples, which knows of constants as a score does not."""
    z, context = _places(subject)[0]
    n = POSTERIOR * subject.effort

    def ask(x: Tensor) -> Tensor:
        return subject.model.decode(z.expand(len(x), *z.shape), _spread(context, len(x))).log_prob(x).double()

    output = subject.model.decode(z.expand(n, *z.shape), _spread(context, n))
    subject.reseed("whole")
    x, apart = output.sample(), output.sample()
    measure = subject.data.space.measure
    if measure != "real" and not bool(((x == 0) | (x == 1)).all()):
        return [note(f"normalisation of p(x|z) not looked at: x is {measure}, and of that no density is fitted")]
    return fitted("p(x|z)", x, ask(x), apart, ask)


def _places(subject: Subject) -> list[tuple[Tensor, Tensor | None]]:
    """Some z of the first layer, each with its context."""
    with torch.no_grad():
        draw = subject.draw("places", 0)
    context = subject.batch.context
    count = min(PLACES, len(subject.batch.x))
    return [(draw.z[0][0, row], None if context is None else context[row : row + 1]) for row in range(count)]


def _spread(context: Tensor | None, n: int) -> Tensor | None:
    return None if context is None else context.expand(n, -1)


def _speaks_of(subject: Subject, x: Tensor) -> bool:
    """Whether log_prob is a log-likelihood of these samples: as it says, or as a cross-entropy is where they are 0 or 1."""
    return subject.model.normalised or bool(((x == 0) | (x == 1)).all())


@torch.no_grad()
def entries(subject: Subject) -> list[Gap]:
    """The mean of an entry of x, by the odds of all its values beside the others, against the mean that is stated."""
    gaps = []
    for place, (z, context) in enumerate(_places(subject)):
        n = 8 * subject.effort
        output = subject.model.decode(z.expand(n, *z.shape), _spread(context, n))
        subject.reseed("entries", place)
        x = output.sample()
        values = _values(subject, x)
        chosen = torch.randint(0, x[0].numel(), (ENTRIES,), generator=subject.generator("entries", place))
        for entry in chosen.unique().tolist():
            tried = x.flatten(1).repeat(len(values), 1, 1)
            tried[:, :, entry] = values[:, None]
            nats = torch.stack([output.log_prob(one.reshape(x.shape)) for one in tried]).double()
            mean = (nats.softmax(0) * values[:, None]).sum(0)
            stated = output.mean.flatten(1)[:, entry].double()
            what = f"mean of entry {entry} by its odds, against the stated one, z no. {place}"
            gaps.append(Gap.over(what, mean - stated, 2e-3 * (1 + float(stated.abs().max())), "of x"))
    return gaps


def _values(subject: Subject, x: Tensor) -> Tensor:
    """All values that an entry may take."""
    measure, binary = subject.data.space.measure, bool(((x == 0) | (x == 1)).all())
    if measure == "binary" or (measure == "unit" and binary):
        return torch.tensor([0.0, 1.0])
    if measure == "levels" and not subject.data.name.startswith("made for"):
        return torch.arange(float(subject.data.space.levels))
    if measure == "count" and float(x.max()) < MOST / 4:
        return torch.arange(float(4 * x.max() + 50))
    raise NotApplicable(f"x is {measure}, whose values cannot be tried one by one")


@torch.no_grad()
def prior(subject: Subject) -> list[Gap]:
    """Samples of p(z) against its density."""
    p = subject.prior()
    if surface_of(p) is None and not p.event_shape:
        raise NotApplicable("z is a single number without a shape")

    def sampled(what: str, calls: int) -> Tensor:
        parts = []
        for call in range(calls):
            subject.reseed(what, call)
            parts.append(_rows(p, p.sample(torch.Size([EACH]))))
        return torch.cat(parts)

    calls = CALLS * subject.effort
    z, apart = sampled("prior", calls), sampled("fitted", calls)
    if len(z) != calls * EACH:
        raise RuntimeError(f"{EACH} samples of the prior were asked for, and {len(z) // calls} came")
    log_p = lambda value: _density(p, value)  # noqa: E731
    if not torch.equal(log_p(z[:64]), log_p(z[:64])):
        raise NotApplicable("the density of the prior is itself an estimate, each time another")
    return importance("p(z)", p, z, log_p(z), apart, log_p) + balance(subject, "p(z)", p, z, log_p)


def _rows(p: Distribution, z: Tensor) -> Tensor:
    """(n, *event) of samples (n, *batch, *event) of a distribution with a batch of at most one."""
    return z.reshape(-1, *p.event_shape)


def _density(p: Distribution, z: Tensor) -> Tensor:
    """(n) log p of z (n, *event), float64."""
    return p.log_prob(z if not p.batch_shape else z.unsqueeze(1)).reshape(len(z)).double()


@torch.no_grad()
def posterior(subject: Subject) -> list[Gap]:
    """Draws of q(z|x) against their density, for a few examples."""
    n, gaps = POSTERIOR * subject.effort, []
    batch = picked(subject.batch, torch.arange(min(PLACES, len(subject.batch.x))))
    draw, other = (subject.draw("posterior", place, n, batch=batch) for place in (0, 1))
    if not draw.rated:
        raise NotApplicable("the posterior has no density")
    whole = len(draw.log_px) == n
    q = subject.model.encode(batch.x, batch.context)
    for row in range(len(batch.x)):
        name = f"q(z|x) of example {row}"
        log_q = _of_row(q, row)
        if whole:
            z, nats, apart = draw.z[0][:, row], draw.log_q[0][:, row].double(), other.z[0][:, row]
        else:  # draws for each class: those of the most probable one
            subject.reseed("encoded", row)
            both = q.sample(torch.Size([2 * n]))[:, row]
            z, apart = both[:n], both[n:]
            nats = log_q(z)
        # a posterior that is refined, or known at its own draws alone, has no density to ask for elsewhere
        try:
            asked: Density | None = log_q if torch.allclose(log_q(z), nats, atol=1e-3, rtol=1e-4) else None
        except (ValueError, NotImplementedError):
            asked = None
        gaps += importance(name, q, z, nats, apart, asked)
        if asked is not None:
            gaps += balance(subject, name, q, z, asked)
    if all(gap.unit == NOTE for gap in gaps):
        raise NotApplicable("z is curved or counted")
    return gaps


def _of_row(q: Distribution, row: int) -> Density:
    size = q.batch_shape[0]

    def log_q(z: Tensor) -> Tensor:
        """(n) log q of z (n, *event) given the example's x."""
        return q.log_prob(z.unsqueeze(1).expand(len(z), size, *z.shape[1:]))[:, row].double()

    return log_q


LAWS = (
    Law(
        "likelihood",
        "p(x|z) is a normalised density of what it draws: its score has mean zero, and its variance is minus the mean "
        "curvature.",
        likelihood,
        "Let log_prob be the sum over all numbers of x, constants and scales included, of the distribution that sample() "
        "draws from.",
    ),
    Law(
        "entries of x",
        "The odds that p(x|z) gives to the values of a counted entry have the mean that it states.",
        entries,
        "Let log_prob be the sum over all entries, not a mean, and mean the expectation under it.",
    ),
    Law(
        "prior",
        "Samples of p(z) have its density: E[g(z) / p(z)] = 1 for normalised g, and moves that keep p(z) lead nowhere.",
        prior,
        "Draw every component by its weight, for each sample anew, and normalise the density.",
    ),
    Law(
        "posterior",
        "Draws of q(z|x) have the density that they are weighed with.",
        posterior,
        "Let log_q be the density of these very draws, Jacobians of all maps included.",
    ),
)

"""What can be wrong with z: dimensions that say nothing of x, scales at the end of their range, codes nobody chooses."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Laplace, Normal, StudentT

from unveil.distributions import (
    ChosenCodes,
    CodeSequence,
    Delta,
    DiagonalGaussian,
    GumbelOneHot,
    PositiveNormal,
    Rescaled,
    TypedColumns,
    surface_of,
)
from unveil.doctor.case import ROWS, Case
from unveil.doctor.finding import Finding, some
from unveil.models import Draw
from unveil.parts.heads import BOUND
from unveil.words import counted, number

LITTLE = 0.1
"""Nats below which all of z together says nothing to speak of."""
QUIET = 0.01
"""Nats below which a dimension says nothing of x: its means then vary by a fiftieth of its own variance. Active units are
told from others at a hundredth of the prior's (Burda et al. 2016), and between the two there is hardly ever one."""
EDGE = 0.95 * BOUND / 2
"""Heads keep log-scales between -6 and 6; the smooth bound lets through a tenth of the gradient here."""
AT_EDGE = 0.01
"""Share of scales at the edge above which they are no accident of a few examples."""
SCALED = (DiagonalGaussian, Normal, Laplace, StudentT, PositiveNormal)
"""Densities of real x whose scale a head bounds."""
UNITED = (DiagonalGaussian, PositiveNormal)
"""Those of them that say in which unit."""
USED, HARDLY = 0.5, 0.1
"""Shares of the codes that equal use would have chosen. With half of them unused a book of half the size would do; with
nine tenths it has collapsed."""
CHOICES = 100
"""Choices to be seen: of 100,000 simulated books in equal use none had less than 0.79 of what equal use is to choose."""
ALONE = 1.05
"""A perplexity that says that one code is chosen at all but every hundredth time."""


def collapsed(case: Case) -> Iterator[Finding]:
    """Dimensions, variables or layers of z that say nothing of x; where all do, the posterior has collapsed."""
    found = _information(case)
    if found is None:
        return
    nats, unit, n = found
    quiet = nats < QUIET
    if not quiet.any():
        return
    total = f"{number(float(nats.sum()), 3)} nats in all, n = {n:,} training examples"
    if quiet.all() or nats.sum() < LITTLE:
        yield Finding(
            "wrong",
            "the posterior has collapsed: z says nothing of x",
            f"none of {counted(len(nats), unit)} of z says more than {number(float(nats.max()), 2)} nats of x; {total}",
            "train longer, warm the rate up for longer (--model.kl-warmup), or let some of it be free (free-bits-vae); a "
            "smaller beta and a smaller learning rate help too. If x has no structure, this is as it should be",
        )
        return
    yield Finding(
        "note",
        f"{int(quiet.sum())} of {len(nats)} {unit}s of z say nothing of x",
        f"{unit}s {some(quiet.nonzero().flatten())} say less than {number(QUIET)} nats each; {total}",
        f"nothing needs to be done; {int((~quiet).sum())} would do (--latent), unless a longer warm-up wakes more",
    )


def _information(case: Case) -> tuple[Tensor, str, int] | None:
    """Nats that each dimension, variable or layer of z says of x, (D,); what these are called; and n. None for codes, or
    where no example gives numbers.

    Of vectors it is 1/2 log(1 + Var[mean] / E[variance]), the mutual information of a Gaussian channel with that signal and
    that noise. Of one-hot variables it is the mutual information itself, H(E[p]) - E[H(p)]. Of several layers, and of
    flows, which tell no variance, it is the rate of each, which is at least that.
    """
    posterior = case.first.posterior
    if isinstance(posterior, ChosenCodes):
        return None
    if posterior is None:
        return _rates(case)
    if isinstance(posterior, GumbelOneHot):
        p = torch.cat(case.each(lambda draw: _given(draw).mean.double().cpu()))
        return _entropy(p.mean(0)) - _entropy(p).mean(0), "variable", len(p)
    try:
        moments = case.each(lambda draw: (_given(draw).mean.double().cpu(), _given(draw).variance.double().cpu()))
    except NotImplementedError:
        return _rates(case)
    mean, variance = (torch.cat(part).flatten(1) for part in zip(*moments, strict=True))
    sound = (mean.isfinite() & variance.isfinite()).all(1)
    if sound.sum() < 2:
        return None
    mean, variance = mean[sound], variance[sound]
    # a point has no variance: what does not vary even so says nothing, and what does says much
    signal = mean.var(0) / (variance.mean(0) + 1e-8)
    return 0.5 * torch.log1p(signal), "dimension", len(mean)


def _rates(case: Case) -> tuple[Tensor, str, int] | None:
    layers = torch.cat(case.each(lambda draw: torch.stack([draw.mean(kl) for kl in draw.kl], 1).double().cpu()))
    layers = layers[layers.isfinite().all(1)]
    return (layers.mean(0), "layer", len(layers)) if len(layers) else None


def _given(draw: Draw) -> Distribution:
    assert draw.posterior is not None
    return draw.posterior


def _entropy(p: Tensor) -> Tensor:
    """Nats, of probabilities along the last dimension."""
    return -torch.xlogy(p, p).sum(-1)


def posterior_scales(case: Case) -> Iterator[Finding]:
    """Log-variances of q(z|x) at the end of their range."""
    posterior = case.first.posterior
    if isinstance(posterior, Delta | ChosenCodes) or (posterior is not None and surface_of(posterior) is not None):
        return
    try:
        if posterior is None:
            raise NotImplementedError
        logs = torch.cat(case.each(lambda draw: _given(draw).variance.double().log().cpu() / 2)).flatten(1)
    except NotImplementedError:
        yield Finding(
            "note",
            "the scales of the posterior were not looked at",
            f"{'several layers tell' if posterior is None else f'a {type(posterior).__name__} tells'} no variance, for "
            f"none of n = {min(ROWS, len(case.data.train)):,} training examples",
            "nothing; that z says something of x was looked at by its rate",
        )
        return
    for edge, which, how, change in (
        (
            logs < -EDGE,
            "small",
            "vanish",
            "the decoder asks for z without noise: look whether its own scale vanishes, give the rate its full weight, or "
            "train an autoencoder (ae) if no noise is wanted",
        ),
        (
            logs > EDGE,
            "large",
            "explode",
            "lower the learning rate, clip gradients at a smaller norm, and bring x to a scale near one",
        ),
    ):
        if edge.double().mean() > AT_EDGE:
            dimensions = (edge.double().mean(0) > AT_EDGE).nonzero().flatten()
            yield Finding(
                "doubtful",
                f"log-variances of the posterior {how}",
                f"{float(edge.double().mean()):.1%} of the scales of q(z|x) are as {which} as the head allows, beyond "
                f"{number(exp(-EDGE if which == 'small' else EDGE), 3)} (dimensions {some(dimensions)}), n = {len(logs):,} "
                "training examples",
                change,
            )


def likelihood_scales(case: Case) -> Iterator[Finding]:
    """Scales of p(x|z) at the end of their range, where it is a density: nats that come from there mean nothing."""
    parts = [part for part in case.each(lambda draw: _scales(draw.output)) if part is not None]
    if not parts:
        return
    logs = torch.cat(parts)
    for edge, how, change in (
        (
            logs < -EDGE,
            "vanishes",
            "leave out entries that are constant or copies of others, add noise to values that were rounded, and bring x "
            "to a scale near one: as the scale goes to 0, log p(x) goes up without end and says nothing of the model",
        ),
        (logs > EDGE, "explodes", "bring x to a scale near one, and lower the learning rate"),
    ):
        if edge.double().mean() > AT_EDGE:
            yield Finding(
                "doubtful",
                f"the scale of the likelihood {how}",
                f"{float(edge.double().mean()):.1%} of the scales of p(x|z) are at the end of their range, from "
                f"{number(float(logs[edge].min().exp()), 2)} to {number(float(logs[edge].max().exp()), 2)}, in n = "
                f"{len(logs):,} "
                f"training examples of {counted(logs.shape[1], 'entry', 'entries')}",
                change,
            )


def _scales(output: Distribution) -> Tensor | None:
    """(B, E) log-scales of those entries of p(x|z) that have one, in the units of their heads; None where none has."""
    logs = []
    for part in output.groups if isinstance(output, TypedColumns) else [output]:
        base = part.base_dist if isinstance(part, Independent) else part.base if isinstance(part, Rescaled) else part
        if isinstance(base, SCALED):
            whole = base.scale.log().expand(base.batch_shape + base.event_shape)
            unit = base.unit if isinstance(base, UNITED) else None
            logs.append((whole if unit is None else whole - unit.log())[0].flatten(1).double().cpu())
    return torch.cat(logs, 1) if logs else None


def dead_codes(case: Case) -> Iterator[Finding]:
    """Codes that no example chooses."""
    posterior, prior = case.first.posterior, case.first.prior
    if not isinstance(posterior, ChosenCodes) or not isinstance(prior, CodeSequence):
        return
    alphabet = prior.alphabet
    chosen = torch.cat(case.each(lambda draw: alphabet.index(_given(draw).mean).cpu()))  # (n, places)
    for book in range(alphabet.depth):
        index = chosen[:, book :: alphabet.depth]
        counts = index.flatten().bincount(minlength=alphabet.codes).double()
        if index.numel() < CHOICES:
            continue
        used, perplexity = int((counts > 0).sum()), float(_entropy(counts / counts.sum()).exp())
        expected = alphabet.codes * (1 - (1 - 1 / alphabet.codes) ** index.numel())
        if min(used, 2 * perplexity) >= USED * expected and perplexity > ALONE:
            continue
        yield Finding(
            "wrong" if perplexity < max(HARDLY * expected, 1.5) else "doubtful",
            f"most codes are dead{f' in book {book + 1} of {alphabet.depth}' if alphabet.depth > 1 else ''}",
            f"{used} of {alphabet.codes} codes are chosen at all, with perplexity {perplexity:.1f}, in {index.numel():,} "
            f"choices of n = {len(index):,} training examples, where equal use would choose {expected:.0f}",
            "train longer or with a smaller learning rate, let the codebook follow faster (--model.decay 0.9), take fewer "
            "codes, or a lattice, of which none can die (fsq-vae)",
        )

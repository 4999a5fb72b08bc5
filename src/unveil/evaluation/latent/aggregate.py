r"""The rate apart: what z tells about x, and how far the aggregate posterior is from the prior.

.. math:: E\,\mathrm{KL}(q(z|x) \| p(z)) = I(x; z) + \mathrm{KL}(q(z) \| p(z)), \quad q(z) = E_x\, q(z|x)

q(z) of the population is known through N examples alone: each part is an interval between two bounds, and where N is too
small for the parts to be told, the interval is wide and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import log
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.data import Split
from unveil.distributions.surface import Counted, surface_of
from unveil.errors import SettingError
from unveil.evaluation.bound import in_evaluation
from unveil.evaluation.figure import Figure
from unveil.evaluation.latent.mixture import Interval, Mixture, broadcast, diagonals, mixture
from unveil.models import Draw, Model
from unveil.objectives import Factorised, Mmd
from unveil.parts.two_stage import Bounded
from unveil.randomness import generator, reseed
from unveil.words import counted

CHUNK = 500
"""Most examples drawn for at a time."""
NUMBERS = 784 * 4_000
"""Most numbers of x decoded at a time."""
OTHERS = 2_000
"""Most examples whose posteriors are no diagonal Gaussians: each of their N^2 densities is computed by itself."""
STORED = 2**21
"""Most numbers N D of z: their squares and parameters then fit 200 MB."""
BLOCKS, BLOCK = 20, 500
"""How many disjoint blocks a discrepancy is averaged over where examples suffice, and how large they are at most."""
PAIRS = 2**24
"""Most differences between two blocks held at a time."""
FAR = 1.0
"""Nats between aggregate posterior and prior that are worth a better prior."""
FAINT = 0.1
"""Nats about x below which z is as good as empty."""


@dataclass(frozen=True)
class Aggregate:
    """What `aggregate` found, on some examples of one split.

    Attributes:
        data: name of the data, and `split` which of its splits.
        fingerprint: SHA-256 over the values and labels that were used.
        seed: of binarisation, of the draws and of the subset.
        examples: N.
        posterior: kind of q(z|x), and `prior` of p(z).
        rate: log q(z|x) - log p(z) of one draw for each example; the closed form differs from it by noise. It is the sum
            of `information.lower` and `divergence.upper`, and of `information.upper` and `divergence.lower`.
        information: I(x; z), x with the label where the encoder is given one. The lower bound is also what z tells about
            which of these N examples it came from, and at most log N. Another upper bound is the rate.
        divergence: KL(q(z) || p(z)), what a prior fitted to q(z) would save of the rate.
        correlation: the total correlation, KL(q(z) || prod_d q(z_d)).
        marginals: sum over dimensions of KL(q(z_d) || p(z_d)), and `dimensions` each of them. With `correlation` it
            makes up the divergence.
        mmd: squared maximum mean discrepancy between q(z) and p(z), by the kernel of `Mmd()`: unbiased, hence sometimes
            negative, at most 2; its error is over disjoint blocks. `floor` is the same between two samples of the prior.
        missing: what there is none of, and why.
    """

    data: str
    split: str
    fingerprint: str
    seed: int
    examples: int
    posterior: str
    prior: str
    rate: Figure | None
    information: Interval | None
    divergence: Interval | None
    correlation: Interval | None
    marginals: Interval | None
    dimensions: tuple[Interval, ...]
    mmd: Figure | None
    floor: Figure | None
    missing: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for report.json."""
        return asdict(self)

    def table(self) -> list[tuple[str, str]]:
        """What the terminal prints: name, and value with error and unit."""
        rows = {
            "rate, of draws": self.rate,
            "I(x; z)": self.information,
            "KL(aggregate || prior)": self.divergence,
            "total correlation": self.correlation,
            "KL of single dimensions, summed": self.marginals,
        }
        found = [(name, str(value)) for name, value in rows.items() if value is not None]
        for name, figure in (("MMD² of aggregate and prior", self.mmd), ("MMD² of prior and prior", self.floor)):
            if figure is not None:
                found.append((name, f"{figure.value:.5f} ± {figure.stderr:.5f} (n = {figure.n:,})"))
        return found

    def advice(self) -> list[str]:
        """What cannot be trusted, and what a practitioner may change."""
        found = []
        better = "fit one afterwards (`unveil refit-prior`) or train with a learned one (recipes vamp, flow-prior)"
        told, far = self.information, self.divergence
        if told is not None and not told.told:
            found.append(
                f"{self.examples:,} examples cannot tell how much of the rate is information about x: the lower bound "
                f"ends at log N = {log(self.examples):.1f} nats, and the upper one needs about as many examples as e to "
                "the power of the information. What is known beside them: it is no more than the rate"
            )
        if told is not None and told.upper.value + 2 * told.upper.stderr < FAINT:
            found.append(
                f"z tells at most {max(told.upper.value, 0.0):,.2f} nats about x: the posterior has collapsed; warm the "
                "rate up for longer (--model.kl-warmup), or leave it free bits (recipe free-bits-vae)"
            )
        if far is not None and far.lower.value - 2 * far.lower.stderr > FAR:
            found.append(f"a prior that fits the encodings would save at least {far.lower.value:,.1f} nats: {better}")
        elif far is None and self.mmd is not None and self.floor is not None and self.mmd.value > 4 * _both(self):
            found.append(f"encodings can be told from samples of the prior, which decode to something else: {better}")
        return found


def _both(found: Aggregate) -> float:
    """The error of the difference of both discrepancies."""
    assert found.mmd is not None
    assert found.floor is not None
    return float((found.mmd.stderr**2 + found.floor.stderr**2) ** 0.5)


@torch.no_grad()
def aggregate(model: Model, split: Split, *, data: str = "", images: int | None = 10_000, seed: int = 0) -> Aggregate:
    """Take the rate apart by one draw of z for each of N examples, in the reading that `seed` gives.

    Time and the number of densities grow with N^2, memory with N.

    Args:
        model: with one layer of z.
        split: the examples, which stand for their population: training examples are told apart better than others.
        data: the data's name, for the record.
        images: N, drawn as a function of `seed`; None for all. Fewer are taken where posteriors are no diagonal
            Gaussians (2,000) or z is very large.
        seed: of everything random.

    Raises:
        SettingError: several layers of z, z that are counted, or fewer than two examples.

    Source: Hoffman & Johnson 2016, ELBO surgery: yet another way to carve up the variational evidence lower bound; Poole
    et al. 2019, On Variational Bounds of Mutual Information, arXiv:1905.06922, section 2 (both bounds).
    """
    chosen = split.sample(images, seed)
    if len(chosen) < 2:
        raise SettingError(f"{counted(len(chosen), 'example')} cannot be a mixture of others; give at least 2")
    with in_evaluation(model):
        one = _encode(model, chosen.subset(torch.arange(1)), seed)
        plain = diagonals(one.posteriors, one.z) is not None
        chosen = chosen.sample(min(max(2, STORED // one.z[0].numel()), len(chosen) if plain else OTHERS), seed)
        encoded = _encode(model, chosen, seed)
        parts = _parts(encoded)
        mmd, floor = _discrepancies(model, encoded, seed)
    return Aggregate(
        data=data,
        split=split.name,
        fingerprint=chosen.digest().hex(),
        seed=seed,
        examples=len(chosen),
        posterior=type(one.posteriors[0]).__name__,
        prior=type(encoded.prior).__name__,
        mmd=mmd,
        floor=floor,
        **parts,
    )


@dataclass(frozen=True)
class _Encoded:
    """Posteriors of N examples, in batches, a draw z (N, *latent) from each, their prior, and the first of the draws."""

    posteriors: list[Distribution]
    z: Tensor
    prior: Distribution
    template: Draw


def _encode(model: Model, split: Split, seed: int) -> _Encoded:
    device = next(iter(model.parameters())).device
    posteriors, values, template = [], [], None
    size = max(1, min(CHUNK, NUMBERS // split.values[0].numel()))
    for place, batch in enumerate(split.batches(size, seed)):
        reseed(seed, "aggregate", place, device=device)
        draw = model.draw(batch.to(device))
        if draw.posterior is None or draw.prior is None:
            raise SettingError(f"an aggregate posterior needs one layer of z, and this model has {len(draw.z)}")
        if isinstance(surface_of(draw.posterior), Counted):
            raise SettingError("an aggregate posterior needs z with a density, and z here are codes or classes")
        posteriors.append(draw.posterior)
        values.append(draw.z[0][0])
        template = template or draw
    assert template is not None
    assert template.prior is not None
    return _Encoded(posteriors, torch.cat(values), template.prior, template)


def _parts(encoded: _Encoded) -> dict[str, Any]:
    """The fields of `Aggregate` that are made of densities."""
    names = ("rate", "information", "divergence", "correlation", "marginals")
    found: dict[str, Any] = dict.fromkeys(names) | {"dimensions": (), "missing": ()}
    tables, count = diagonals(encoded.posteriors, encoded.z), len(encoded.z)
    try:
        table = broadcast(encoded.posteriors, encoded.z) if tables is None else tables.joint()
        joint = mixture(table, count)
    except SettingError as error:
        return found | {"missing": (f"neither information nor divergence: {error}",)}
    found["information"] = Interval.between(joint.own - joint.within, joint.own - joint.without)
    missing = _why_no_divergence(encoded.prior)
    if not missing:
        log_p = torch.cat([encoded.prior.log_prob(part).double().cpu() for part in encoded.z.split(CHUNK)])
        found["rate"] = Figure.over(joint.own - log_p)
        found["divergence"] = Interval.between(joint.without - log_p, joint.within - log_p)
    if tables is None:
        missing.append("no total correlation: its marginals are known for diagonal Gaussian posteriors alone")
    else:
        singles = [mixture(tables.marginal(dimension), count) for dimension in range(tables.dimensions)]
        found |= _dimensions(joint, singles, None if missing else encoded.prior, encoded.z)
    return found | {"missing": tuple(missing)}


def _why_no_divergence(prior: Distribution) -> list[str]:
    if prior.batch_shape:
        return ["no divergence: p(z) hangs on what the model is conditioned on, and q(z) is that of all examples together"]
    if isinstance(prior, Bounded):
        return ["no divergence: the density of a second stage is known by a bound alone"]
    return []


def _dimensions(joint: Mixture, singles: Sequence[Mixture], prior: Distribution | None, z: Tensor) -> dict[str, Any]:
    """What the marginals tell: of each other and, where the prior factorises, of its own."""
    within = torch.stack([single.within for single in singles]).sum(0)
    without = torch.stack([single.without for single in singles]).sum(0)
    found: dict[str, Any] = {}
    if len(singles) > 1:
        found["correlation"] = Interval.between(joint.without - within, joint.within - without)
    if isinstance(prior, Factorised):
        log_p = prior.log_probs(z).flatten(1).double().cpu()
        pairs = list(zip(singles, log_p.T, strict=True))
        found["dimensions"] = tuple(Interval.between(q.without - p, q.within - p) for q, p in pairs)
        found["marginals"] = Interval.between(without - log_p.sum(1), within - log_p.sum(1))
    return found


def _discrepancies(model: Model, encoded: _Encoded, seed: int) -> tuple[Figure | None, Figure | None]:
    """MMD^2 of aggregate and prior, and of prior and prior, each a mean of U-statistics over disjoint blocks."""
    z, prior, template = encoded.z, encoded.prior, encoded.template
    if prior.batch_shape:
        return None, None
    size = max(2, min(BLOCK, len(z) // BLOCKS, int((PAIRS / z[0].numel()) ** 0.5)))
    # a split may be sorted, and neighbours in it alike
    order = torch.randperm(len(z), generator=generator(seed, "blocks")).to(z.device)
    term, t, mass = Mmd(), torch.zeros((), device=z.device), z.new_zeros(1, size)
    found: list[list[Tensor]] = [[], []]
    for place, block in enumerate(z[order].split(size)[: len(z) // size]):
        reseed(seed, "blocks", place, device=z.device)
        for values, sample in zip(found, (block, prior.sample(torch.Size([size]))), strict=True):
            discrepancy = term(replace(template, z=(sample.unsqueeze(0),), log_mass=mass), model, t)
            values.append(discrepancy.mean())
    mmd, floor = (replace(Figure.over(torch.stack(values).cpu(), "MMD²"), n=len(z)) for values in found)
    return mmd, floor

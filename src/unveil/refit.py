"""A prior fitted afterwards: the trained model rests, and a new p(z) learns where its encodings are.

What elsewhere is called a sampler is a prior: with it the model is a generative model as before, is saved as one, and has
nats. The aggregate posterior q(z), the mean of q(z|x) over the training examples, is what the new prior is fitted to.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from unveil import generation
from unveil.data import Dataset
from unveil.distributions import CodeSequence, Delta
from unveil.errors import SettingError, unknown
from unveil.launch import RUNS, train
from unveil.models import VAE, Refinable
from unveil.networks import Mlp
from unveil.objectives import Distortion, NegativeLogPrior, Rate, Term
from unveil.part import Part
from unveil.parts import (
    Autoregressive,
    AutoregressiveCodes,
    Coupling,
    Gaussian,
    Isotropic,
    MixtureOfGaussians,
    Net,
    Spline,
    Standard,
    TwoStage,
    UniformCodes,
    Vamp,
)
from unveil.randomness import generator, reseed
from unveil.recipes.priors import REFIT, pseudo_input_bounds
from unveil.run import Run
from unveil.store import free_path
from unveil.training.config import Training
from unveil.training.watching import Audience

ENCODED = 10_000
"""Training examples whose encodings a new prior may begin at."""
WIDTH = 256
"""Of the two hidden layers of a second stage's networks."""

Maker = Callable[[VAE, Dataset, Tensor], Part]
"""From the model, its data and encodings (N, D) of training examples to a prior."""


def _mixture(model: VAE, data: Dataset, z: Tensor) -> Part:
    prior = MixtureOfGaussians(z.shape[1:])
    prior.start_at(z)
    return prior


def _vamp(model: VAE, data: Dataset, z: Tensor) -> Part:
    prior = Vamp(model.posterior, 200, data.space.shape, pseudo_input_bounds(data))
    prior.start(data.train)
    return prior


def _flow(kind: type[Coupling] | type[Autoregressive] | type[Spline]) -> Maker:
    def make(model: VAE, data: Dataset, z: Tensor) -> Part:
        prior = kind(_dimensions(z))
        prior.start_at(z)
        return prior

    return make


def _two_stage(model: VAE, data: Dataset, z: Tensor) -> Part:
    size = _dimensions(z)
    posterior = Net(Mlp((size,), (WIDTH, WIDTH), (2 * size,), "gated"), Gaussian(size))
    likelihood = Net(Mlp((size,), (WIDTH, WIDTH), (size,), "gated"), Isotropic(1))
    likelihood.start(z.mean(0))
    return TwoStage(VAE(Standard(size), posterior, likelihood))


def _dimensions(z: Tensor) -> int:
    if z.dim() != 2:
        raise SettingError(f"this prior is for vectors, and z has shape {tuple(z.shape[1:])}; take 'mixture' or 'vamp'")
    return z.shape[1]


def _codes(model: VAE, data: Dataset, z: Tensor) -> Part:
    if not isinstance(model.prior, UniformCodes | AutoregressiveCodes):
        kind = type(model.prior).__name__
        raise SettingError(f"an autoregressive prior writes codes, and z under {kind} is not made of them; take 'maf'")
    return AutoregressiveCodes(model.prior.alphabet, model.prior.positions)


PRIORS: dict[str, Maker] = {
    "mixture": _mixture,
    "vamp": _vamp,
    "coupling": _flow(Coupling),
    "maf": _flow(Autoregressive),
    "spline": _flow(Spline),
    "two-stage": _two_stage,
    "autoregressive": _codes,
}
"""The priors that can be asked for by name."""


def require(name: str) -> None:
    """See that there is a prior of that name; the error proposes the nearest."""
    if name not in PRIORS:
        raise unknown("prior", name, PRIORS)


def refit_prior(
    run: Run,
    prior: str | Part,
    *,
    data: Dataset | None = None,
    out: str | Path | None = None,
    training: Training | None = None,
    monitor: Audience = None,
    **settings: Any,
) -> Run:
    """Give a trained model a new prior, fitted to its encodings; all else keeps its weights.

    The prior is trained on the rate alone, in nats. Under a Delta posterior the rate is infinite: there it is trained on
    minus log p(z) of the encodings, and the model has samples but no nats. With 'two-stage' nats are bounds.

    Args:
        run: a trained model with one layer of z; it stays as it is.
        prior: one of `PRIORS`, or your own.
        data: what to encode; None for what the run was trained on.
        out: the new run folder; None for the run's own with the prior's name behind.
        training: how; None for `REFIT`. Single `settings` may also be given by name: `epochs=5`.
        monitor: who watches, one or several: see docs/logs.md.

    Returns:
        The run of the same model with the new prior; what was not trained still takes no gradient.

    Raises:
        SettingError: an unknown prior, or a model that it is not for.
        RunError: the folder exists, or cannot be written.
    """
    if isinstance(prior, str):
        require(prior)
    name = prior if isinstance(prior, str) else type(prior).__name__.lower()
    if not isinstance(run.model, VAE):
        kind = type(run.model).__name__
        raise SettingError(f"the prior of a {kind} is no part by itself; refit that of a model with one layer of z")
    data = run.load_data() if data is None else run.suited(data)
    training = training or REFIT
    model, objective = _prepared(run.model, prior, data, settings.get("seed", training.seed))
    base = RUNS / str(run.manifest["recipe"]) if run.path is None or run.origin else run.path
    with _at_rest([part for part in model.children() if part is not model.prior]):
        return train(
            data,
            model=model,
            objective=objective,
            training=training,
            out=free_path(base.with_name(f"{base.name}-{name}")) if out is None else out,
            monitor=monitor,
            **settings,
        )


def _prepared(trained: VAE, prior: str | Part, data: Dataset, seed: int) -> tuple[VAE, Term]:
    """A copy of the model whose new prior is all there is to train, and what to train it on."""
    model, own = copy.deepcopy((trained, prior))  # together: a prior of one's own may share the model's posterior
    model.cpu().eval().requires_grad_(False)
    split = data.train.sample(ENCODED, seed)
    context = None if split.context is None else split.context[:1]
    with torch.no_grad(), torch.random.fork_rng([]):
        reseed(seed, "refit")
        encoded = generation.encode(model, split)
        # draws, not means: where posteriors are wide and alike, a prior around the means would begin far too narrow
        noise = torch.randn(encoded.mean.shape, generator=generator(seed, "encodings"))
        z = encoded.mean + encoded.scale * noise
        made = own if isinstance(own, Part) else PRIORS[own](model, data, z)
        posterior = model.encode(split.reading.mean(split.values[:1]), context)
        _check(model.prior(None, context), made.cpu()(None, context))
    model.prior = made
    if isinstance(posterior, Delta):
        return model, NegativeLogPrior()
    # a posterior that follows the joint density moves with the prior, and may not leave x for it
    return model, Distortion() + Rate() if isinstance(posterior, Refinable) else Rate()


def _check(old: Distribution, new: Distribution) -> None:
    """See that both priors are over the same codes or real space: else nats with the new one were of another measure."""
    if old.event_shape != new.event_shape:
        raise SettingError(f"a prior over {tuple(new.event_shape)} cannot be that of z of shape {tuple(old.event_shape)}")
    if isinstance(old, CodeSequence) and isinstance(new, CodeSequence) and old.alphabet is new.alphabet:
        return
    for distribution in (old, new):
        try:
            anywhere = torch.linspace(-3, 3, old.event_shape.numel()).reshape(old.event_shape)
            support = distribution.support
            real = support is not None and bool(support.check(anywhere).all())
        except NotImplementedError:
            real = False
        if not real:
            raise SettingError(f"z under a {type(distribution).__name__} need not be real; a refitted prior is for real z")


@contextmanager
def _at_rest(parts: Sequence[nn.Module]) -> Iterator[None]:
    """Within, `parts` are in evaluation mode whenever they are called, whatever the loop sets: nothing in them moves."""

    def rest(part: nn.Module, inputs: Any) -> None:
        part.eval()

    hooks = [part.register_forward_pre_hook(rest) for part in parts]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()

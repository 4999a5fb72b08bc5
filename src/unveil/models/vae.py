"""The variational autoencoder with one layer of latent variables: prior, posterior and likelihood, and nothing else."""

from __future__ import annotations

from contextlib import nullcontext
from math import log

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.data import Batch, Measure
from unveil.distributions import ChosenCodes, Delta
from unveil.errors import SettingError
from unveil.models.draw import Draw, Model, once
from unveil.models.latent import Gradient, Refinable, check_comparable, divergence, latent
from unveil.part import Conditional, Likelihood, pieces, resting
from unveil.parts import conditional
from unveil.randomness import reseed

CHUNK = 500
"""Samples decoded at a time, so that memory does not grow with how many are asked for."""


class VAE(Model):
    r"""p(x, z) = p(z) p(x|z) with the approximate posterior q(z|x).

    .. math:: \log p(x) \ge E_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x) \| p(z))

    Args:
        prior: p(z); a distribution of torch's is taken as it is.
        posterior: q(z|x), with reparameterised samples.
        likelihood: p(x|z).

    Example:
        >>> from unveil.models import VAE
        >>> from unveil.networks import Mlp
        >>> from unveil.parts import Bernoulli, Gaussian, Net, Standard
        >>> encoder, decoder = Mlp((1, 8, 8), (32,), (2 * 4,)), Mlp((4,), (32,), (1, 8, 8))
        >>> model = VAE(Standard(4), Net(encoder, Gaussian(4)), Net(decoder, Bernoulli()))
        >>> model.sample(3, seed=0).shape
        torch.Size([3, 1, 8, 8])

    Source: Kingma & Welling 2014, Auto-Encoding Variational Bayes, arXiv:1312.6114; Rezende et al. 2014,
    Stochastic Backpropagation, arXiv:1401.4082.
    """

    def __init__(self, prior: Conditional | Distribution, posterior: Conditional, likelihood: Likelihood) -> None:
        super().__init__()
        self.prior = conditional(prior)
        self.posterior = posterior
        self.likelihood = likelihood

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures of the spaces of x that its likelihood is for."""
        return self.likelihood.measures

    @property
    def normalised(self) -> bool:
        """Whether log p(x|z) is a log-likelihood of x."""
        return self.likelihood.normalised

    def draw(self, batch: Batch, samples: int = 1, gradient: Gradient = "pathwise") -> Draw:
        """`samples` = K draws of z for each example, carrying gradient as `gradient` says.

        Raises:
            SettingError: the posterior cannot carry that gradient.
        """
        posterior: Distribution = self.posterior(batch.x, batch.context)
        if isinstance(posterior, Refinable):
            posterior = posterior.refine(lambda z: self.log_joint(batch, z))
        prior = self.prior(batch.index, batch.context)
        check_comparable(posterior, prior)
        z, density = latent(posterior, samples, gradient)
        output = self.decode(z, batch.context)
        log_px = output.log_prob(batch.x)

        @once
        def densities() -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
            return (density(),), (prior.log_prob(z),)

        @once
        def divergences() -> tuple[Tensor, ...]:
            # the closed form is an expectation already, which a gradient other than the pathwise one is not for
            kl = divergence(posterior, prior) if gradient == "pathwise" else None
            if kl is not None:
                return (kl.expand_as(log_px),)
            (log_q,), (log_p,) = densities()
            return (log_q - log_p,)

        return Draw(
            batch=batch,
            z=(z,),
            log_px=log_px,
            log_mass=torch.full_like(log_px, -log(samples)),
            densities=densities,
            divergences=divergences,
            output=output,
            posterior=posterior,
            prior=prior,
            rated=not isinstance(posterior, Delta),
            covers=not isinstance(posterior, ChosenCodes),
        )

    def log_joint(self, batch: Batch, z: Tensor) -> Tensor:
        """(K, B) log p(x|z) + log p(z) for z (K, B, *latent)."""
        prior = self.prior(batch.index, batch.context)
        return self.decode(z, batch.context).log_prob(batch.x) + prior.log_prob(z)

    def encode(self, x: Tensor, context: Tensor | None = None) -> Distribution:
        """q(z|x) for x (B, *event). Deterministic: the distribution, not a draw from it."""
        return self.posterior(x, context)

    def decode(self, z: Tensor, context: Tensor | None = None) -> Distribution:
        """p(x|z) for z (*lead, *latent), batch shape lead; `context` (B, C) belongs to the last dimension of lead."""
        event = self.prior(None, context).event_shape
        leading = z.dim() - len(event)
        if z.shape[leading:] != event:
            raise SettingError(f"z of shape {tuple(z.shape)} does not end in the prior's {tuple(event)}")
        if context is not None:
            context = context.expand(*z.shape[:leading], -1)
        return self.likelihood(z, context, leading=leading)

    @torch.no_grad()
    def sample(self, n: int, context: Tensor | None = None, seed: int | None = None, mean: bool = False) -> Tensor:
        """Call the model: x ~ p(x|z) with z ~ p(z).

        Args:
            n: how many, at least 1.
            context: (C,) or (n, C) what a conditional model is given.
            seed: the same seed gives the same samples, whatever was drawn before; None draws on.
            mean: give E[x|z] instead of x: sharper to look at, and no sample of the model.

        Returns:
            (n, *event) float32.
        """
        if n < 1:
            raise SettingError(f"{n} samples cannot be drawn; ask for at least 1")
        device = next(self.parameters()).device
        whole = None if context is None else context.to(device).expand(n, -1)
        forked = [] if device.type != "cuda" else [device]
        with resting(self), torch.random.fork_rng(forked) if seed is not None else nullcontext():
            if seed is not None:
                reseed(seed, "sample", device=device)
            # all of z first, so that means and samples of a seed are those of the same z
            prior = self.prior(None, whole)
            z = prior.sample(torch.Size([] if prior.batch_shape else [n]))
            outputs = (self.decode(z[rows], None if whole is None else whole[rows]) for rows in pieces(n, CHUNK))
            return torch.cat([output.mean if mean else output.sample() for output in outputs])

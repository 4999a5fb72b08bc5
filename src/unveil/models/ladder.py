"""Hierarchies: several layers of latent variables, whose prior and posterior share one way down.

A deterministic way up reads features off x. On the way down a state collects the layers drawn so far, z_1 to z_g-1; from
it comes the prior of z_g, and from it and the features the posterior, as a change of the prior. The likelihood reads the
state at the bottom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from unveil.data import Batch, Measure
from unveil.errors import SettingError
from unveil.models.draw import Draw, Model, once
from unveil.models.group import Group
from unveil.models.latent import Gradient, check_comparable, divergence, latent
from unveil.models.vae import CHUNK
from unveil.part import Conditional, Likelihood, pieces, resting
from unveil.parts import conditional
from unveil.randomness import reseed


@dataclass(frozen=True)
class _Layer:
    """One layer of a draw; `lead` is (K, B), over which the numbers are spread."""

    z: Tensor
    q: Distribution
    p: Distribution
    density: Callable[[], Tensor]
    lead: tuple[int, int]

    def log_q(self) -> Tensor:
        return self.density().reshape(self.lead)

    def log_p(self) -> Tensor:
        return self.p.log_prob(self.z).reshape(self.lead)

    def kl(self, gradient: Gradient) -> Tensor:
        # the closed form is an expectation already, which a gradient other than the pathwise one is not for
        closed = divergence(self.q, self.p) if gradient == "pathwise" else None
        if closed is None:
            return self.log_q() - self.log_p()
        return closed.reshape(self.lead) if closed.numel() > self.lead[1] else closed.expand(self.lead)


class Ladder(Model):
    r"""p(x, z) = p(z_1) p(z_2|z_1) ... p(x|z) with the posterior q(z_1|x) q(z_2|z_1, x) ....

    .. math:: \log p(x) \ge E_q[\log p(x|z)] - \sum_g E_q\,\mathrm{KL}(q(z_g|z_{<g}, x) \| p(z_g|z_{<g}))

    A draw has an entry for each layer, the first on top; its KL of layer g is closed given the values drawn above, (K, B),
    and unbiased for that layer's rate. Under 'sticking' the density of each layer reads its parameters as constants, which
    is unbiased too; what is left of its variance at the exact posterior comes from layers whose parameters hang on the
    values above. K draws are folded into the batch, once past the way up, which is taken once for each example.

    Args:
        prior: p(z_1); a distribution of torch's is taken as it is.
        bottom_up: x (N, *event) to a tuple of features, one for each layer, the first layer's first; in a conditional
            model from x and the context.
        posterior: q(z_1|x), a conditional on the first features.
        top: z_1, and the context of a conditional model, to the state.
        groups: the other layers from top to bottom; none for a model with one layer.
        likelihood: p(x|z), a conditional on the last state.

    Source: Sønderby et al. 2016, Ladder Variational Autoencoders, arXiv:1602.02282; Vahdat & Kautz 2020, NVAE,
    arXiv:2007.03898; Child 2021, Very Deep VAEs, arXiv:2011.10650.
    """

    def __init__(
        self,
        prior: Conditional | Distribution,
        bottom_up: nn.Module,
        posterior: Conditional,
        top: nn.Module,
        groups: Sequence[Group],
        likelihood: Likelihood,
    ) -> None:
        super().__init__()
        self.prior, self.bottom_up, self.posterior, self.top = conditional(prior), bottom_up, posterior, top
        self.groups = nn.ModuleList(groups)
        self.likelihood = likelihood

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures of the spaces of x that its likelihood is for."""
        return self.likelihood.measures

    @property
    def normalised(self) -> bool:
        """Whether log p(x|z) is a log-likelihood of x."""
        return self.likelihood.normalised

    def _layers(self) -> list[Group]:
        return [group for group in self.groups if isinstance(group, Group)]

    def draw(self, batch: Batch, samples: int = 1, gradient: Gradient = "pathwise") -> Draw:
        """`samples` = K draws of every layer for each example, carrying gradient as `gradient` says.

        Raises:
            SettingError: the score function's gradient, which several layers are not made for.
        """
        if gradient == "score":
            raise SettingError("a ladder's draws carry their own gradient; take 'pathwise' or 'sticking', not 'score'")
        lead = (samples, batch.x.shape[0])
        features = self.bottom_up(*_given(batch.x, batch.context))
        posterior, prior = self.posterior(features[0]), self.prior(batch.index, batch.context)
        check_comparable(posterior, prior)
        z, density = latent(posterior, samples, gradient)
        layers = [_Layer(z, posterior, prior, density, lead)]
        state = self._top(z.flatten(0, 1), batch.context)
        for group, feature in zip(self._layers(), features[1:], strict=True):
            state, p = group(state)
            q = group.infer(state, feature.expand(samples, *feature.shape).flatten(0, 1), p)
            one, density = latent(q, 1, gradient)
            layers.append(_Layer(one[0], q, p, density, lead))
            state = group.leave(state, one[0])
        output = self.likelihood(state.unflatten(0, lead), None, leading=2)
        log_px = output.log_prob(batch.x)

        @once
        def densities() -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
            return tuple(layer.log_q() for layer in layers), tuple(layer.log_p() for layer in layers)

        @once
        def divergences() -> tuple[Tensor, ...]:
            return tuple(layer.kl(gradient) for layer in layers)

        return Draw(
            batch=batch,
            z=(z, *(layer.z.unflatten(0, lead) for layer in layers[1:])),
            log_px=log_px,
            log_mass=torch.full_like(log_px, -log(samples)),
            densities=densities,
            divergences=divergences,
            output=output,
        )

    def log_joint(self, batch: Batch, z: Tensor | Sequence[Tensor]) -> Tensor:
        """(K, B) log p(x|z) + sum of log p(z_g|z_<g) for `z`, one (K, B, *latent) for each layer as in a draw.

        Raises:
            SettingError: not all layers are given; p(x, z_1) alone has no closed form.
        """
        values = [z] if isinstance(z, Tensor) else list(z)
        if len(values) != 1 + len(self.groups):
            raise SettingError(f"log p(x, z) of {1 + len(self.groups)} layers needs all of z, a tuple as in a draw")
        lead = values[0].shape[:2]
        total = self.prior(batch.index, batch.context).log_prob(values[0])
        state = self._top(values[0].flatten(0, 1), batch.context)
        for group, value in zip(self._layers(), values[1:], strict=True):
            state, p = group(state)
            total = total + p.log_prob(value.flatten(0, 1)).unflatten(0, lead)
            state = group.leave(state, value.flatten(0, 1))
        output = self.likelihood(state.unflatten(0, lead), None, leading=2)
        return total + output.log_prob(batch.x)

    def encode(self, x: Tensor, context: Tensor | None = None) -> Distribution:
        """q(z_1|x) for x (B, *event)."""
        return self.posterior(self.bottom_up(*_given(x, context))[0])

    def decode(self, z: Tensor, context: Tensor | None = None) -> Distribution:
        """p(x|z) for the first layer's z (*lead, *latent), the others at their means given those above."""
        event = self.prior(None, context).event_shape
        split = z.dim() - len(event)
        if z.shape[split:] != event:
            raise SettingError(f"z of shape {tuple(z.shape)} does not end in the first layer's {tuple(event)}")
        lead = z.shape[:split]
        state = self._down(z.reshape(-1, *event), context, lambda p: p.mean)
        return self.likelihood(state.unflatten(0, lead), None, leading=split)

    def _top(self, z: Tensor, context: Tensor | None) -> Tensor:
        """The first state for z (N, *latent); the context (B, C) is repeated, N = K B."""
        whole = None if context is None else context.expand(z.shape[0] // context.shape[0], *context.shape).flatten(0, 1)
        state: Tensor = self.top(*_given(z, whole))
        return state

    def _down(self, z: Tensor, context: Tensor | None, choose: Callable[[Distribution], Tensor]) -> Tensor:
        """The last state for z_1 (N, *latent), each other layer as `choose` takes it from its prior."""
        state = self._top(z, context)
        for group in self._layers():
            state, p = group(state)
            state = group.leave(state, choose(p))
        return state

    @torch.no_grad()
    def sample(self, n: int, context: Tensor | None = None, seed: int | None = None, mean: bool = False) -> Tensor:
        """Call the model: x ~ p(x|z) with every layer of z from its prior.

        The arguments are those of `VAE.sample`; a `mean` is E[x|z] at the values drawn in all layers.

        Returns:
            (n, *event) float32.
        """
        if n < 1:
            raise SettingError(f"{n} samples cannot be drawn; ask for at least 1")
        device = next(self.parameters()).device
        whole = None if context is None else context.to(device).expand(n, -1)
        parts = []
        forked = [] if device.type != "cuda" else [device]
        with resting(self), torch.random.fork_rng(forked) if seed is not None else nullcontext():
            for rows in pieces(n, CHUNK):
                if seed is not None:
                    # each chunk has its own key, so that means and samples of a seed are those of the same z
                    reseed(seed, "sample", rows.start, device=device)
                given = None if whole is None else whole[rows]
                prior = self.prior(None, given)
                z = prior.sample(torch.Size([] if prior.batch_shape else [rows.stop - rows.start]))
                output = self.likelihood(self._down(z, given, lambda p: p.sample()))
                parts.append(output.mean if mean else output.sample())
        return torch.cat(parts)


def _given(first: Tensor, context: Tensor | None) -> list[Tensor]:
    return [first] if context is None else [first, context]

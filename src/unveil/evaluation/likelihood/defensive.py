r"""Weights whose proposal is more than the encoder's posterior, so that no peak of p(z|x) is out of reach.

.. math:: w = p(x, z) / r(z), \quad
    z \sim r(z) = (1 - \alpha)\, q(z|x) + \tfrac\alpha2 p(z) + \tfrac\alpha2 \mathrm{mean}_i N(z | z_i^*, s^2)

Under q alone a peak that the encoder misses is met by no draw, and then nothing in the weights tells of it. Here no weight
exceeds 2 p(x|z) / alpha; and z*, the best of some pilot draws that count for nothing else, are where the peaks are, as well
as they can tell, with s the distance between such draws. As z* do not depend on the draws that are weighed, exp of the
estimate stays unbiased for p(x). It pays where z has few dimensions: where draws of the prior hardly ever come near p(z|x),
it costs the share of the draws and gains nothing.

Source: Hesterberg 1995, Weighted Average Importance Sampling and Defensive Mixture Distributions, Technometrics 37; Owen &
Zhou 2000, Safe and Effective Importance Sampling, JASA 95, for a fixed number of draws from each; Cappé et al. 2004,
Population Monte Carlo, for a proposal from earlier draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from unveil.data import Batch
from unveil.errors import SettingError
from unveil.evaluation.flat import flat_prior
from unveil.evaluation.likelihood.drawing import counts
from unveil.models import VAE, Draw, Model
from unveil.models.latent import check_comparable
from unveil.randomness import reseed

PILOT = 8
"""One draw of the prior looks for the peak for so many that are weighed, and as many again look around it."""
LEAST = 64
"""Fewest that look."""
REACH = 2.0
"""How much further than the prior's own draws every second pilot draw goes."""
PEAKS = 8
"""Pilot draws around which more are drawn: there may be several peaks."""
CLOSER = 3.0
"""How much narrower the Gaussians around the second pilot draws are."""


@dataclass(frozen=True)
class Defence:
    """The mixture for the images of a block.

    Attributes:
        model: with one layer of z, real vectors.
        prior: p(z).
        posterior: q(z|x), batch shape (B,), with a density wherever it is asked for.
        near: around z*, batch shape (B,).
        batch: the images.
        share: alpha, how many of all draws come from p(z) and from near z*.
    """

    model: VAE
    prior: Distribution
    posterior: Distribution
    near: Distribution
    batch: Batch
    share: float

    @classmethod
    def of(cls, model: Model, batch: Batch, samples: int, share: float, *purpose: int | str) -> Defence:
        """The mixture that `share` makes, for `samples` draws. The pilot's randomness is a function of `purpose`.

        Raises:
            SettingError: z that are not flat, or a posterior without a density, or with one at its own draws alone.
        """
        flat, prior = flat_prior(model, "a defensive mixture", batch.context)
        posterior = flat.encode(batch.x, batch.context)
        check_comparable(posterior, prior)
        try:
            # a flow that is known at its own draws alone cannot say what its density is where the prior drew
            posterior.log_prob(_draws(prior, batch, 1))
        except NotImplementedError:
            raise SettingError(
                f"a defensive mixture needs the density of q(z|x) at draws of the prior, and {type(posterior).__name__} "
                "has none there; leave the defensive share at 0"
            ) from None
        reseed(*purpose, "pilot", device=batch.x.device)
        near = _near(flat, prior, batch, max(LEAST, samples // PILOT))
        return cls(flat, prior, posterior, near, batch, share)

    def kept(self, draw: Draw) -> Tensor:
        """(K, B) log-weights of draws from q, under the mixture."""
        return draw.log_px + draw.log_p[0] - self._mixed(draw.log_q[0], draw.log_p[0], draw.z[0])

    def added(self, count: int, *purpose: int | str) -> Tensor:
        """(count, B) log-weights of draws from p(z) and from near z*. Randomness is a function of `purpose`."""
        reseed(*purpose, device=self.batch.x.device)
        half = torch.rand(count, len(self.batch.index), 1, device=self.batch.x.device) < 0.5
        z = torch.where(half, _draws(self.prior, self.batch, count), self.near.sample(torch.Size([count])))
        log_p = self.prior.log_prob(z)
        log_px = self.model.decode(z, self.batch.context).log_prob(self.batch.x)
        return log_px + log_p - self._mixed(self.posterior.log_prob(z), log_p, z)

    def _mixed(self, log_q: Tensor, log_p: Tensor, z: Tensor) -> Tensor:
        added = torch.logaddexp(log_p, self.near.log_prob(z)) + log(self.share / 2)
        return torch.logaddexp(log_q + log(1 - self.share), added)


def _draws(prior: Distribution, batch: Batch, count: int) -> Tensor:
    """(count, B, D) draws of p(z)."""
    return prior.sample(torch.Size([count] if prior.batch_shape else [count, len(batch.index)]))


def _near(model: VAE, prior: Distribution, batch: Batch, count: int) -> Distribution:
    """Gaussians around the best of `count` pilot draws for each image, as wide as these lie apart; and of as many again
    that come from those Gaussians, which are closer together."""
    z = torch.cat([_draws(prior, batch, some) for some in counts(batch, count)])
    # every second one goes further out, where the prior itself hardly ever comes
    far = 1 + (REACH - 1) * (torch.arange(len(z), device=z.device) % 2).view(-1, 1, 1)
    z = z.mean(0) + far * (z - z.mean(0))
    apart = z.std(0).clamp(min=1e-6) * len(z) ** (-1 / z.shape[-1])
    centres = _best(model, prior, batch, z)
    closer = _best(model, prior, batch, _around(centres, apart).sample(torch.Size([count])))
    widths = torch.cat([apart.expand_as(centres), (apart / CLOSER).expand_as(closer)])
    return _around(torch.cat([centres, closer]), widths)


def _best(model: VAE, prior: Distribution, batch: Batch, z: Tensor) -> Tensor:
    """(PEAKS, B, D) those of z (n, B, D) with the largest p(x, z)."""
    parts = z.split(counts(batch, len(z)))
    joint = torch.cat([model.decode(part, batch.context).log_prob(batch.x) + prior.log_prob(part) for part in parts])
    return z.gather(0, joint.topk(min(PEAKS, len(z)), 0).indices.unsqueeze(-1).expand(-1, -1, z.shape[-1]))


def _around(centres: Tensor, widths: Tensor) -> Distribution:
    """For each image the mean of Gaussians with `centres` (M, B, D)."""
    each = Independent(Normal(centres.transpose(0, 1), widths.expand_as(centres).transpose(0, 1)), 1)
    return MixtureSameFamily(Categorical(logits=torch.zeros_like(each.mean[..., 0])), each)

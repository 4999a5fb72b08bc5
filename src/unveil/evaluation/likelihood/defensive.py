r"""Weights whose proposal is the encoder's posterior together with the prior, so that no peak of p(z|x) is out of reach.

.. math:: w = \frac{p(x, z)}{(1 - \alpha)\, q(z|x) + \alpha\, p(z)}, \qquad z \sim (1 - \alpha)\, q(z|x) + \alpha\, p(z)

exp of the estimate stays unbiased for p(x). Under q alone a peak that the encoder misses is met by no draw, and then
nothing in the weights tells of it; here no weight exceeds p(x|z) / alpha. It pays where z has few dimensions: where
draws from p(z) hardly ever come near p(z|x), it costs the share of the draws and gains nothing.

Source: Hesterberg 1995, Weighted Average Importance Sampling and Defensive Mixture Distributions, Technometrics 37; Owen &
Zhou 2000, Safe and Effective Importance Sampling, JASA 95, for a fixed number of draws from each.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.data import Batch
from unveil.errors import SettingError
from unveil.evaluation.flat import flat_prior
from unveil.models import VAE, Draw, Model
from unveil.models.latent import check_comparable
from unveil.randomness import reseed


@dataclass(frozen=True)
class Defence:
    """The mixture for the images of a block.

    Attributes:
        model: with one layer of z, real vectors.
        prior: p(z).
        posterior: q(z|x), batch shape (B,), with a density wherever it is asked for.
        batch: the images.
        share: alpha, how many of all draws come from p(z).
    """

    model: VAE
    prior: Distribution
    posterior: Distribution
    batch: Batch
    share: float

    @classmethod
    @torch.no_grad()
    def of(cls, model: Model, batch: Batch, share: float) -> Defence:
        """The mixture that `share` makes.

        Raises:
            SettingError: z that are not flat, or a posterior without a density, or with one at its own draws alone.
        """
        flat, prior = flat_prior(model, "a defensive mixture", batch.context)
        posterior = flat.encode(batch.x, batch.context)
        check_comparable(posterior, prior)
        try:
            # a flow that is known at its own draws alone cannot say what its density is where the prior drew
            posterior.log_prob(prior.sample(torch.Size([] if prior.batch_shape else [len(batch.index)])))
        except NotImplementedError:
            raise SettingError(
                f"a defensive mixture needs the density of q(z|x) at draws of the prior, and {type(posterior).__name__} "
                "has none there; leave the defensive share at 0"
            ) from None
        return cls(flat, prior, posterior, batch, share)

    def kept(self, draw: Draw) -> Tensor:
        """(K, B) log-weights of draws from q, under the mixture."""
        return draw.log_px + draw.log_p[0] - self._mixed(draw.log_q[0], draw.log_p[0])

    def added(self, count: int, *purpose: int | str) -> Tensor:
        """(count, B) log-weights of draws from p(z). Randomness is a function of `purpose`."""
        reseed(*purpose, device=self.batch.x.device)
        size = (count,) if self.prior.batch_shape else (count, len(self.batch.index))
        z = self.prior.sample(torch.Size(size))
        log_p = self.prior.log_prob(z)
        log_px = self.model.decode(z, self.batch.context).log_prob(self.batch.x)
        return log_px + log_p - self._mixed(self.posterior.log_prob(z), log_p)

    def _mixed(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        return torch.logaddexp(log_q + log(1 - self.share), log_p + log(self.share))

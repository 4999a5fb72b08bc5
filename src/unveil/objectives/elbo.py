"""The two halves of the evidence lower bound: -ELBO = distortion + rate."""

from __future__ import annotations

from torch import Tensor

from unveil.models import Draw, Gradient, Model
from unveil.objectives.term import Term


class Distortion(Term):
    r"""What is lost: the expected negative log-likelihood of x given its own z.

    .. math:: -E_{q(z|x)} \log p(x|z)

    Constants included, so that distortion + rate is -ELBO in nats. Value and pathwise gradient are unbiased for this
    expectation, for any number of draws.

    Returns:
        Nats per example, (B,).

    Example:
        >>> import torch
        >>> from unveil.data import Batch
        >>> from unveil.models import VAE
        >>> from unveil.objectives import Distortion, Rate
        >>> from unveil.parts import Bernoulli, Gaussian, Net, Standard
        >>> encoder, decoder = torch.nn.Linear(3, 4), torch.nn.Linear(2, 3)
        >>> model = VAE(Standard(2), Net(encoder, Gaussian(2)), Net(decoder, Bernoulli(event_dims=1)))
        >>> batch = Batch(torch.ones(5, 3), index=torch.arange(5), size=5)
        >>> beta = Distortion() + 4 * Rate()
        >>> beta(model.draw(batch), model, torch.tensor(0.0)).shape  # a loss for each example, at time 0
        torch.Size([5])
    """

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        return draw.distortion


class Rate(Term):
    r"""What z costs: how far the posterior is from the prior.

    .. math:: \sum_l \mathrm{KL}(q(z_l|x) \| p(z_l))

    In closed form where there is one, else log q - log p of the draws; value and gradient are unbiased in both cases, and
    so they are for 'sticking', which takes the draws.

    Args:
        gradient: how the draws carry gradient, 'pathwise' or 'sticking'; None for any way.

    Returns:
        Nats per example, (B,).

    Example:
        >>> import torch
        >>> from unveil.models import divergence
        >>> from unveil.parts import Gaussian, Standard
        >>> q = Gaussian(1)(torch.tensor([1.0, 0.0]))  # N(1, 1)
        >>> divergence(q, Standard(1)())  # what z costs here: half a nat
        tensor(0.5000)
    """

    def __init__(self, gradient: Gradient | None = None) -> None:
        super().__init__()
        self.gradient = gradient

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        return draw.rate

"""Objectives with a second player: a critic learns to tell two kinds of samples apart, and the model to make that hard.

Each of these terms returns a loss for the model and one for its critic, each of which follows its own gradient alone, so
both read the same forward pass. The model's loss is what validation looks at. It is measured by a critic that moves, which
makes it comparable from one epoch to the next only as far as the critic has kept up; each term says how far that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import log, pi

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call
from torch.nn import functional as F

from unveil.errors import SettingError
from unveil.models import Draw, Model
from unveil.objectives.decomposition import flat
from unveil.objectives.mmd import of_prior
from unveil.objectives.term import MODEL, Loss, Term


def verdict(critic: nn.Module, samples: Tensor) -> Tensor:
    """(K, B) the critic's log-odds that `samples` (K, B, *event) are of the first kind.

    Raises:
        SettingError: it gives other than one number for each.
    """
    said: Tensor = critic(samples.flatten(0, 1)).float()
    if said.numel() != samples.shape[0] * samples.shape[1]:
        shape = tuple(said.shape[1:])
        raise SettingError(f"a critic says one number for each sample, and this one says {shape}; let its outputs be (1,)")
    return said.reshape(samples.shape[:2])


def told_apart(first: Tensor, second: Tensor) -> Tensor:
    """The critic's loss in nats from its log-odds for both kinds: log 2 where it guesses, 0 where it knows."""
    # softplus, not the logarithm of a sigmoid: it stays finite, and its gradient alive, for a critic that is sure
    return 0.5 * (F.softplus(-first) + F.softplus(second))


class DensityRatioCorrelation(Term):
    r"""The total correlation of the aggregate posterior by a critic that knows z from z with its dimensions shuffled.

    .. math:: E_{q(z)}[D(z)], \quad D(z) \to \log \frac{q(z)}{\prod_d q(z_d)}

    A loss for the model, D of the draws, and one for the critic: its cross-entropy between the draws and the same draws
    with each dimension permuted over the batch. At the best critic the model's value is the total correlation, unbiased; at
    any other it is whatever the critic believes, and the gradient is biased likewise. It makes sense to choose weights by
    once the critic has settled, as the elbo beside it then outweighs what the critic still learns; an ignorant critic says
    0, which flatters the first epochs. The model's loss does not couple the batch; the critic's does, by the permutation,
    which any part of a batch can have for itself.

    Args:
        critic: a network from z (N, D) to (N, 1), a player of its own.

    Returns:
        Nats per example, (B,), for 'model' and 'density ratio'.

    Raises:
        SettingError: several layers of z, or a critic of another shape.

    Source: Kim & Mnih 2018, Disentangling by Factorising, arXiv:1802.05983.
    """

    PLAYER = "density ratio"

    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Loss:
        z = flat(self, draw)[0].flatten(2)
        together = verdict(self.critic, z)
        apart = verdict(self.critic, shuffled(z.detach()))
        return {MODEL: draw.mean(together), self.PLAYER: draw.mean(told_apart(together, apart))}

    def players(self, model: Model) -> Mapping[str, Iterable[nn.Parameter]]:
        return {self.PLAYER: self.critic.parameters()}


def shuffled(z: Tensor) -> Tensor:
    """`z` (K, B, D) with each dimension permuted over the batch by itself."""
    return z.gather(1, torch.rand_like(z).argsort(1))


class AdversarialPrior(Term):
    r"""The aggregate posterior made like the prior by a critic that knows one from the other.

    .. math:: E_{q(z)}[\log(1 + e^{-D(z)})], \quad D(z) \to \log \frac{p(z)}{q(z)}

    The model's loss is small where the critic takes z for the prior's, the non-saturating one; the critic's is its
    cross-entropy. At the best critic and q(z) = p(z) both are log 2. Works for a posterior without density. The value
    estimates no divergence that is fixed in advance; near the equilibrium it hovers around log 2, so to choose weights by
    distortion plus this is to choose by distortion among those whose critic was not at a loss.

    Args:
        critic: a network from z (N, *latent) to (N, 1), a player of its own.

    Returns:
        Nats per example, (B,), for 'model' and 'prior critic'.

    Raises:
        SettingError: several layers of z, or a critic of another shape.

    Source: Makhzani et al. 2015, Adversarial Autoencoders, arXiv:1511.05644.
    """

    PLAYER = "prior critic"

    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Loss:
        z, _, prior = flat(self, draw)
        wanted = verdict(self.critic, of_prior(prior, z).detach())
        given = verdict(self.critic, z)
        return {MODEL: draw.mean(F.softplus(-given)), self.PLAYER: draw.mean(told_apart(wanted, given))}

    def players(self, model: Model) -> Mapping[str, Iterable[nn.Parameter]]:
        return {self.PLAYER: self.critic.parameters()}


class Critic(nn.Module):
    """What tells x from the model's own, with features of x on the way.

    The features are normalised: otherwise the critic would set the scale in which they are compared.

    Args:
        network: from x (N, *event) to (N, `size`).
        size: F, how many features.
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network, self.size = network, size
        self.last = nn.Linear(size, 1)

    def normalised(self, features: Tensor) -> Tensor:
        """`features` (N, F) of the network, each row with mean 0 and variance 1."""
        return F.layer_norm(features.float(), (self.size,))

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = self.last(F.silu(self.normalised(self.network(x))))
        return said


def seen(model: Model, output: Distribution) -> Tensor:
    """x (*lead, *event) as a critic sees what p(x|z) makes: its mean; where x is 0 or 1, a draw with the mean's gradient.

    Any gray pixel would give a picture away among binary ones. The gradient through the draw is straight-through: biased.
    """
    mean = output.mean
    return mean + (output.sample() - mean).detach() if model.measures == ("binary",) else mean


class AdversarialSamples(Term):
    r"""Samples of the model made like the data by a critic that knows one from the other.

    .. math:: E[\log(1 + e^{-D(\tilde x)})], \quad \tilde x \text{ made from } z \sim p(z) \text{ and from } z \sim q(z|x)

    The model's loss reaches what decodes and nothing that encodes: z is a constant in it. The critic's loss is its
    cross-entropy. Every second z of the batch is its example's, the others are the prior's. A value near log 2 says that
    the critic is at a loss, not that samples are good: no number to choose weights by; train with validate_every=0, which
    keeps the last average.

    Args:
        critic: what tells x from samples, a player of its own.

    Returns:
        Nats per example, (B,), for 'model' and 'sample critic'.

    Raises:
        SettingError: several layers of z.

    Source: Goodfellow et al. 2014, Generative Adversarial Networks, arXiv:1406.2661; Larsen et al. 2016, Autoencoding
    beyond pixels using a learned similarity metric, arXiv:1512.09300.
    """

    PLAYER = "sample critic"

    def __init__(self, critic: Critic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Loss:
        z, _, prior = flat(self, draw)
        second = (torch.arange(z.shape[1], device=z.device) % 2 == 1).view(-1, *[1] * (z.dim() - 2))
        z = torch.where(second, z.detach(), of_prior(prior, z))
        made = verdict(self.critic, seen(model, model.decode(z, draw.batch.context)))
        real = verdict(self.critic, draw.batch.x.unsqueeze(0))
        return {MODEL: draw.mean(F.softplus(-made)), self.PLAYER: draw.mean(told_apart(real, made))}

    def players(self, model: Model) -> Mapping[str, Iterable[nn.Parameter]]:
        return {self.PLAYER: self.critic.parameters()}


class FeatureDistortion(Term):
    r"""What is lost of x in the eyes of a critic: a distortion over its features.

    .. math:: -E_{q(z|x)} \log \mathcal{N}(f(x); f(\tilde x), 1), \quad \tilde x \text{ made from } z

    The features f are constants here, moved only by whatever trains the critic: beside `AdversarialSamples` of the same
    critic that is its cross-entropy, alone nothing, which leaves random features. Nats of features, not of x: the sum with
    the rate is no bound on log p(x), and not comparable between epochs while the features move.

    Args:
        critic: whose features are compared.

    Returns:
        Nats of features per example, (B,).

    Source: Larsen et al. 2016, arXiv:1512.09300.
    """

    def __init__(self, critic: Critic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self._features(draw.batch.x)
        made = seen(model, draw.output)
        given = self._features(made.flatten(0, 1)).unflatten(0, made.shape[:2])
        return draw.mean(0.5 * ((given - wanted).square() + log(2 * pi)).sum(-1))

    def _features(self, x: Tensor) -> Tensor:
        fixed = {name: parameter.detach() for name, parameter in self.critic.network.named_parameters()}
        return self.critic.normalised(functional_call(self.critic.network, fixed, (x,)))

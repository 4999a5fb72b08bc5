"""Semi-supervised learning: the class y of an example is a latent variable that is known for some of them.

Where y is known it is given; where it is not, every class is tried and counts by q(y|x). Nothing is sampled that can be
summed, so the classifier gets an exact gradient.
"""

from __future__ import annotations

from contextlib import nullcontext
from math import log

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily
from torch.nn import functional as F

from unveil.data import Batch, Measure
from unveil.errors import SettingError
from unveil.models.draw import Draw, Model, once
from unveil.models.latent import Gradient, check_comparable, divergence, latent
from unveil.models.vae import CHUNK
from unveil.part import Conditional, Likelihood, pieces, resting
from unveil.parts import conditional
from unveil.randomness import reseed
from unveil.words import counted

MASSLESS = -1e9
"""Log of the mass of a draw that does not count. Finite, so that it times anything finite is no NaN."""


class SemiSupervised(Model):
    r"""p(x, y, z) = p(y) p(z) p(x|y, z) with the posterior q(y|x) q(z|x, y), known as M2; p(y) is uniform.

    .. math::
        \text{labelled: } & \log p(x, y) \ge E_{q(z|x, y)} \log \frac{p(x, y, z)}{q(z|x, y)} \\
        \text{others: } & \log p(x) \ge \sum_y q(y|x) E_{q(z|x, y)} \log \frac{p(x, y, z)}{q(y|x) q(z|x, y)}

    A draw has two layers, z and then y as one-hot. Of each example it holds every class with `samples` values of z, K =
    classes * samples, in the order of the classes. An example without a label counts class y by q(y|x), and log q(y|x)
    is part of its weight, so that logsumexp(log_w + log_mass) is unbiased for log p(x) in the sense of importance
    sampling. In an example with a label all mass is on that class; y was not drawn there, so its log_q is 0, and the same
    sum estimates p(x, y). Whatever is averaged by mass is exact in y, in value and in gradient; an importance-weighted
    bound is so too, but q(y|x) cancels in it, and its classifier learns from `Classification` alone.

    The batch's context is y as one-hot (B, C), and `labelled` says whose is known: None for all. A batch without a
    context knows none.

    Args:
        prior: p(z), not conditioned on y; a distribution of torch's is taken as it is.
        encoder: x (N, *event) to features (N, ...), which classifier and posterior share: they do not depend on y.
        classifier: features to logits of q(y|x), (N, C).
        posterior: q(z|x, y), a conditional on the features and the context y.
        likelihood: p(x|z, y), a conditional on z and the context y.
        classes: C, at least 1.

    Source: Kingma et al. 2014, Semi-supervised Learning with Deep Generative Models, arXiv:1406.5298.
    """

    def __init__(
        self,
        prior: Conditional | Distribution,
        encoder: nn.Module,
        classifier: nn.Module,
        posterior: Conditional,
        likelihood: Likelihood,
        classes: int,
    ) -> None:
        super().__init__()
        if classes < 1:
            raise SettingError(f"there cannot be {classes} classes; give at least 1")
        self.prior, self.encoder, self.classifier = conditional(prior), encoder, classifier
        self.posterior, self.likelihood, self.classes = posterior, likelihood, classes

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures of the spaces of x that its likelihood is for."""
        return self.likelihood.measures

    @property
    def normalised(self) -> bool:
        """Whether log p(x|z, y) is a log-likelihood of x."""
        return self.likelihood.normalised

    def _checked(self, context: Tensor | None) -> None:
        if context is not None and context.shape[-1] != self.classes:
            raise SettingError(
                f"a label of {counted(context.shape[-1], 'number')} came to a model of "
                f"{counted(self.classes, 'class', 'classes')}"
            )

    def _everything(self, like: Tensor, lead: torch.Size) -> Tensor:
        """(C, *lead, C) every class for every one of lead."""
        one_hot = torch.eye(self.classes, device=like.device)
        return one_hot.view(self.classes, *[1] * len(lead), self.classes).expand(self.classes, *lead, self.classes)

    def classify(self, x: Tensor) -> Tensor:
        """(B, C) log q(y|x) for x (B, *event)."""
        return F.log_softmax(self.classifier(self.encoder(x)).float(), -1)

    def draw(self, batch: Batch, samples: int = 1, gradient: Gradient = "pathwise") -> Draw:
        """`samples` values of z for each class of each example, carrying gradient as `gradient` says.

        Raises:
            SettingError: labels of another number of classes, or the score function's gradient.
        """
        if gradient == "score":
            raise SettingError("y is summed over and z carries gradient here; take 'pathwise' or 'sticking', not 'score'")
        self._checked(batch.context)
        count, size = self.classes, batch.x.shape[0]
        features = self.encoder(batch.x)
        log_class = F.log_softmax(self.classifier(features).float(), -1).T  # (C, B)
        every = self._everything(batch.x, torch.Size([size]))
        posterior = self.posterior(features.expand(count, *features.shape), every, leading=2)
        prior = self.prior(batch.index, None)  # p(z) knows nothing of y
        check_comparable(posterior, prior)
        values, density = latent(posterior, samples, gradient)  # (S, C, B, *latent)
        z = values.transpose(0, 1).flatten(0, 1)
        y = every.repeat_interleave(samples, 0)
        output = self.likelihood(z, y, leading=2)
        log_px = output.log_prob(batch.x)
        log_q_y, log_mass = self._masses(batch, log_class)
        log_q_y, log_mass = (part.repeat_interleave(samples, 0) for part in (log_q_y, log_mass - log(samples)))
        log_p_y = torch.full_like(log_px, -log(count))

        @once
        def densities() -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
            return (density().transpose(0, 1).flatten(0, 1), log_q_y), (prior.log_prob(z), log_p_y)

        @once
        def divergences() -> tuple[Tensor, ...]:
            closed = divergence(posterior, prior) if gradient == "pathwise" else None
            (log_q, _), (log_p, _) = densities() if closed is None else ((log_q_y, None), (log_q_y, None))
            kl = log_q - log_p if closed is None else closed.repeat_interleave(samples, 0)
            return kl, log_q_y - log_p_y

        return Draw(
            batch=batch,
            z=(z, y),
            log_px=log_px,
            log_mass=log_mass,
            densities=densities,
            divergences=divergences,
            output=output,
        )

    def _masses(self, batch: Batch, log_class: Tensor) -> tuple[Tensor, Tensor]:
        """log q(y) as it enters the weight, and the log of the mass, of each class of each example, (C, B) both."""
        if batch.context is None:
            return log_class, log_class
        fixed = torch.where(batch.context.T > 0.5, 0.0, MASSLESS)
        if batch.labelled is None:
            return torch.zeros_like(log_class), fixed
        return torch.where(batch.labelled, 0.0, log_class), torch.where(batch.labelled, fixed, log_class)

    def log_joint(self, batch: Batch, z: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """(K, B) log p(x, y, z) for (z, y) as in a draw; for z alone log p(x, z), summed over y."""
        prior = self.prior(batch.index, None)
        if isinstance(z, Tensor):
            return self.decode(z).log_prob(batch.x) + prior.log_prob(z)
        value, y = z
        return self.decode(value, y).log_prob(batch.x) + prior.log_prob(value) - log(self.classes)

    def encode(self, x: Tensor, context: Tensor | None = None) -> Distribution:
        """q(z|x, y) for x (B, *event) and y (B, C); without y, at the most probable class."""
        self._checked(context)
        features = self.encoder(x)
        if context is None:
            context = F.one_hot(self.classifier(features).argmax(-1), self.classes).float()
        return self.posterior(features, context)

    def decode(self, z: Tensor, context: Tensor | None = None) -> Distribution:
        """p(x|z, y) for z (*lead, *latent) and y (..., C); without y, p(x|z), the mixture over p(y)."""
        self._checked(context)
        event = self.prior(None, None).event_shape
        split = z.dim() - len(event)
        lead = z.shape[:split]
        if z.shape[split:] != event:
            raise SettingError(f"z of shape {tuple(z.shape)} does not end in the prior's {tuple(event)}")
        if context is not None:
            return self.likelihood(z, context.expand(*lead, -1), leading=split)
        every = self._everything(z, lead).movedim(0, -2)
        spread = z.unsqueeze(split).expand(*lead, self.classes, *event)
        one = self.likelihood(spread, every, leading=split + 1)
        uniform = Categorical(logits=torch.zeros(*lead, self.classes, device=z.device), validate_args=False)
        return MixtureSameFamily(uniform, one, validate_args=False)

    @torch.no_grad()
    def sample(self, n: int, context: Tensor | None = None, seed: int | None = None, mean: bool = False) -> Tensor:
        """Call the model: x ~ p(x|z, y) with z ~ p(z) and, where `context` does not say it, y ~ p(y).

        The arguments are those of `VAE.sample`; a `mean` is E[x|z, y].

        Returns:
            (n, *event) float32.
        """
        if n < 1:
            raise SettingError(f"{n} samples cannot be drawn; ask for at least 1")
        device = next(self.parameters()).device
        forked = [] if device.type != "cuda" else [device]
        with resting(self), torch.random.fork_rng(forked) if seed is not None else nullcontext():
            if seed is not None:
                reseed(seed, "sample", device=device)
            # all of z first, so that means and samples of a seed are those of the same z
            z = self.prior(None, None).sample(torch.Size([n]))
            drawn = F.one_hot(torch.randint(self.classes, (n,), device=device), self.classes).float()
            y = drawn if context is None else context.to(device).expand(n, -1)
            outputs = (self.decode(z[rows], y[rows]) for rows in pieces(n, CHUNK))
            return torch.cat([output.mean if mean else output.sample() for output in outputs])

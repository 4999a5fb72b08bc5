"""Recipes: named compositions of parts with defaults that work. A recipe is an argument away from another.

Importing this module imports no torch, so that the command line can list recipes at once; `compose` does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from unveil.errors import SettingError, unknown
from unveil.training.config import Training

if TYPE_CHECKING:
    from torch import nn

    from unveil.data import Dataset
    from unveil.models import VAE
    from unveil.objectives import Term


ACTIVATIONS = ("relu", "silu", "gated")
NETWORKS = ("mlp", "conv")


@dataclass(frozen=True)
class GaussianVae:
    """A standard normal prior, a diagonal Gaussian posterior, and the likelihood that fits the data's space.

    Attributes:
        latent: dimensions of z.
        hidden: width of each hidden layer of the encoder; the decoder has them in reverse.
        activation: of the hidden layers of an mlp.
        network: 'mlp', or 'conv' for images.
        channels: of a conv network, after each halving of the image.
        beta: weight of the rate; 1 for the ELBO.
        kl_warmup: epochs over which the rate's weight rises from 0.
        gain: by how much the encoder's centred input is multiplied.
    """

    latent: int = 16
    hidden: tuple[int, ...] = (300, 300)
    activation: Literal["relu", "silu", "gated"] = "gated"
    network: Literal["mlp", "conv"] = "mlp"
    channels: tuple[int, ...] = (32, 64, 64)
    beta: float = 1.0
    kl_warmup: float = 5.0
    gain: float = 0.25

    def __post_init__(self) -> None:
        if self.latent < 1:
            raise SettingError(f"a latent space cannot have {self.latent} dimensions; give at least 1")
        if min((*self.hidden, *self.channels), default=1) < 1:
            raise SettingError(f"layers cannot have widths {self.hidden} or {self.channels}; give positive ones")
        for name, known in (("activation", ACTIVATIONS), ("network", NETWORKS)):
            if getattr(self, name) not in known:
                raise unknown(name, str(getattr(self, name)), known)
        if not self.gain > 0:
            raise SettingError(f"an input multiplied by {self.gain} says nothing; give a positive gain")
        if self.beta < 0:
            raise SettingError(f"beta cannot be {self.beta}; give 0 or more")

    def compose(self, data: Dataset) -> tuple[VAE, Term]:
        """Model and objective for `data`, freshly initialised from torch's default generator."""
        from unveil.models import VAE
        from unveil.networks import Centred
        from unveil.objectives import Distortion, Rate, Warmup
        from unveil.parts import Gaussian, Net, Standard, likelihood_for

        mean = data.train.mean()
        network, decoder = self._networks(data.space.shape)
        encoder = Centred(network, data.space.shape, self.gain)
        encoder.centre_at(mean)
        likelihood = Net(decoder, likelihood_for(data.space.measure, len(data.space.shape)))
        likelihood.start(mean)
        model = VAE(Standard(self.latent), Net(encoder, Gaussian(self.latent)), likelihood)
        rate: Term = Rate() if self.beta == 1 else self.beta * Rate()
        return model, Distortion() + (Warmup(rate, self.kl_warmup) if self.kl_warmup else rate)

    def _networks(self, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
        from unveil.networks import ConvDecoder, ConvEncoder, Mlp

        inside = (self.latent,)
        if self.network == "mlp":
            return (
                Mlp(shape, self.hidden, (2 * self.latent,), self.activation),
                Mlp(inside, self.hidden[::-1], shape, self.activation),
            )
        if len(shape) != 3:
            raise SettingError(f"a conv network needs images, and one example here has shape {shape}; use network mlp")
        return (
            ConvEncoder(shape, self.channels, (2 * self.latent,)),
            ConvDecoder(inside, self.channels[::-1], shape),
        )


@dataclass(frozen=True)
class Recipe:
    """A named composition.

    Attributes:
        name: what `--recipe` calls it.
        summary: one line.
        source: where it is from.
        measures: the spaces it is for.
        model: how it is composed, with its defaults: the `--model` arguments.
        training: how it is trained, with its defaults.
    """

    name: str
    summary: str
    source: str
    measures: tuple[str, ...]
    model: GaussianVae
    training: Training

    def with_latent(self, latent: int | None) -> Recipe:
        """The same recipe with another number of latent dimensions; None keeps its own."""
        return self if latent is None else replace(self, model=replace(self.model, latent=latent))


_KINGMA = "Kingma & Welling 2014, arXiv:1312.6114"
_ALL = ("binary", "unit", "real")

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "vae",
            "the variational autoencoder, with a likelihood that fits the data",
            _KINGMA,
            _ALL,
            GaussianVae(),
            Training(),
        ),
        Recipe(
            "mnist",
            "a latent space of 40 dimensions between gated layers: good nats in minutes",
            f"{_KINGMA}; network as in Tomczak & Welling 2018, arXiv:1705.07120",
            _ALL,
            GaussianVae(latent=40, kl_warmup=10.0),
            Training(epochs=65, learning_rate=3e-3, average=0.999),
        ),
        Recipe(
            "mnist-2d",
            "two latent dimensions: a plane to look at",
            _KINGMA,
            _ALL,
            GaussianVae(latent=2, hidden=(512, 256, 128), activation="silu", kl_warmup=0.0),
            Training(epochs=18, learning_rate=5e-3),
        ),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        SettingError: there is none; the message proposes the nearest.
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


def default_recipe(data: str) -> str:
    """The recipe named like the data, else 'vae'."""
    return data if data in RECIPES else "vae"

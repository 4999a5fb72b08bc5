"""What a recipe is: a small constructor with a name, from data and settings to a model and its objective.

A function declared by `@register` is the whole of a recipe. Its keyword arguments, beside those of `Networks` that all
recipes share, are its settings: `--model.beta 4` at the terminal, `recipe("beta-vae").given(beta=4)` in Python.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from math import prod
from typing import Any, Literal, get_args, get_type_hints

from torch import nn

from unveil.data import MEANING, Dataset
from unveil.errors import SettingError, unknown
from unveil.models import VAE, Model
from unveil.networks import Centred, ConvDecoder, ConvEncoder, Mlp, ResidualDecoder, ResidualEncoder
from unveil.networks.mlp import Activation
from unveil.objectives import Term, Warmup
from unveil.part import Conditional, Likelihood
from unveil.parts import Columns, Gaussian, Head, Isotropic, Net, Standard, Tabular, likelihood_for
from unveil.parts.tabular import width
from unveil.training.config import Training

Kind = Literal["mlp", "conv", "resnet"]


@dataclass(frozen=True)
class Networks:
    """The networks of a model, and the settings that all recipes share.

    Attributes:
        latent: dimensions of z.
        hidden: width of each hidden layer of the encoder; the decoder has them in reverse.
        activation: of the hidden layers of an mlp.
        network: 'mlp', or for images 'conv', or 'resnet', which is deeper.
        channels: of a conv network or resnet, after each halving of the image.
        blocks: of a resnet, residual blocks at each size.
        kl_warmup: epochs over which the rate's weight rises from 0.
        gain: by how much the encoder's centred input is multiplied.
    """

    latent: int = 16
    hidden: tuple[int, ...] = (300, 300)
    activation: Activation = "gated"
    network: Kind = "mlp"
    channels: tuple[int, ...] = (32, 64, 64)
    blocks: int = 1
    kl_warmup: float = 5.0
    gain: float = 0.25

    def __post_init__(self) -> None:
        if self.latent < 1:
            raise SettingError(f"a latent space cannot have {self.latent} dimensions; give at least 1")
        if min((*self.hidden, *self.channels), default=1) < 1:
            raise SettingError(f"layers cannot have widths {self.hidden} or {self.channels}; give positive ones")
        if self.blocks < 1:
            raise SettingError(f"a resnet cannot have {self.blocks} blocks at each size; give at least 1")
        for name, known in (("activation", Activation), ("network", Kind)):
            if getattr(self, name) not in get_args(known):
                raise unknown(name, str(getattr(self, name)), get_args(known))
        if not self.gain > 0:
            raise SettingError(f"an input multiplied by {self.gain} says nothing; give a positive gain")

    def encoder(self, data: Dataset, outputs: Sequence[int], context: int = 0) -> nn.Module:
        """A network from x (N, *event) to (N, *outputs), which sees x as `seeing` says."""

        def network(shape: tuple[int, ...]) -> nn.Module:
            if self.network == "mlp":
                return Mlp(shape, self.hidden, outputs, self.activation, context)
            if self.network == "conv":
                return ConvEncoder(self._image(shape), self.channels, outputs, context)
            return ResidualEncoder(self._image(shape), self.channels, outputs, context, self.blocks)

        return seeing(data, network, self.gain)

    def decoder(self, inputs: Sequence[int], outputs: Sequence[int], context: int = 0) -> nn.Module:
        """A network from z (N, *inputs) to (N, *outputs)."""
        if self.network == "mlp":
            return Mlp(inputs, self.hidden[::-1], outputs, self.activation, context)
        if self.network == "conv":
            return ConvDecoder(inputs, self.channels[::-1], self._image(outputs), context)
        return ResidualDecoder(inputs, self.channels[::-1], self._image(outputs), context, self.blocks)

    def _image(self, shape: Sequence[int]) -> Sequence[int]:
        if len(shape) != 3:
            raise SettingError(
                f"a {self.network} network needs images, and one example here has shape {tuple(shape)}; use network mlp"
            )
        return shape

    def posterior(self, data: Dataset, head: Head | None = None, event_shape: Sequence[int] | None = None) -> Net:
        """q(z|x): an encoder under `head`, a diagonal Gaussian unless something else is asked for."""
        head = head or Gaussian(self.latent)
        return Net(self.encoder(data, head.needs(event_shape or (self.latent,)), _context(data)), head)

    def likelihood(self, data: Dataset, head: Head | None = None, inputs: Sequence[int] | None = None) -> Net:
        """p(x|z): a decoder under `head`, what fits the data's space unless something else is asked for."""
        shape = data.space.shape
        head = head or likelihood_of(data)
        net = Net(self.decoder(inputs or (self.latent,), head.needs(shape), _context(data)), head)
        net.start(data.train.mean())
        return net

    def vae(
        self,
        data: Dataset,
        prior: Conditional | None = None,
        posterior: Conditional | None = None,
        likelihood: Likelihood | None = None,
    ) -> VAE:
        """The model with a standard prior, a Gaussian posterior and a likelihood that fits, but for what is given."""
        return VAE(prior or Standard(self.latent), posterior or self.posterior(data), likelihood or self.likelihood(data))

    def warm(self, rate: Term) -> Term:
        """A term that is warmed up over the epochs of `kl_warmup`."""
        return Warmup(rate, self.kl_warmup) if self.kl_warmup else rate


def likelihood_of(data: Dataset) -> Head:
    """The likelihood that fits data, where nothing else is asked for: that of their space, and in their units."""
    space = data.space
    head = likelihood_for(space.measure, len(space.shape), space.levels, space.columns)
    if isinstance(head, Columns):
        return head.fit(data.train.values[:].float())
    return head.fit(data.train.spread()) if isinstance(head, Isotropic) else head


def seeing(data: Dataset, network: Callable[[tuple[int, ...]], nn.Module], gain: float) -> nn.Module:
    """A network that sees x centred at the training mean and by their scale, or the columns of a table each in its own way.

    Args:
        data: what it is to see.
        network: makes one, from the shape of its input.
        gain: by how much centred x are multiplied.
    """
    space, train = data.space, data.train
    if space.measure == "columns":
        gaps = train.values[:].isnan().any(0).nonzero().flatten().tolist()
        return Tabular(network((width(space.columns, gaps),)), space.columns, gaps).fit(train.values[:].float())
    unit = train.spread() if space.measure == "real" else space.white
    centred = Centred(network(space.shape), space.shape, gain / unit)
    centred.centre_at(train.mean())
    return centred


def _context(data: Dataset) -> int:
    return 0 if data.train.context is None else prod(data.train.context.shape[1:])


Composition = tuple[Model, Term]
EVERY: tuple[str, ...] = tuple(MEANING)
"""All measures of x."""


@dataclass(frozen=True)
class Recipe:
    """A named composition.

    Attributes:
        name: what `--recipe` calls it.
        summary: one line.
        source: where it is from.
        function: from data and settings to model and objective.
        model: its settings with their defaults: the `--model` arguments.
        training: how it is trained, with its defaults.
        measures: the spaces it is for.
        labels: whether the model is conditioned on the labels.
    """

    name: str
    summary: str
    source: str
    function: Callable[..., Composition]
    model: Networks
    training: Training = field(default_factory=Training)
    measures: tuple[str, ...] = EVERY
    labels: bool = False

    def given(self, **settings: Any) -> Recipe:
        """The same recipe with other settings.

        Raises:
            SettingError: a setting that it does not have.
        """
        names = {one.name for one in fields(self.model)}
        for name in settings:
            if name not in names:
                raise unknown(f"setting of {self.name}", name, names)
        return replace(self, model=replace(self.model, **settings))

    def prepare(self, data: Dataset) -> Dataset:
        """The data as the model is to see them: with their labels where it is conditioned on those."""
        return data.given_labels(getattr(self.model, "known", None)) if self.labels else data

    def compose(self, data: Dataset) -> Composition:
        """Model and objective for `data`, freshly initialised from torch's default generator.

        Raises:
            SettingError: the recipe is for other spaces.
        """
        if data.space.measure not in self.measures:
            raise SettingError(
                f"{self.name} is for {' or '.join(self.measures)} data, and {data.name} is {data.space.measure}; "
                "load the data with another measure, or take another recipe"
            )
        shared = {one.name for one in fields(Networks)}
        own = {one.name: getattr(self.model, one.name) for one in fields(self.model) if one.name not in shared}
        return self.function(data, self.model, **own)


RECIPES: dict[str, Recipe] = {}
"""Every recipe by name."""


def register(
    name: str,
    summary: str,
    source: str,
    *,
    training: Training | None = None,
    measures: tuple[str, ...] = EVERY,
    labels: bool = False,
    **shared: Any,
) -> Callable[[Callable[..., Composition]], Callable[..., Composition]]:
    """Make a recipe of a function `(data, networks, *, setting=default, ...) -> (model, objective)`.

    Args:
        name: of the recipe.
        summary: one line.
        source: where it is from.
        training: its defaults.
        measures: the spaces it is for.
        labels: whether the model is conditioned on labels.
        **shared: defaults of `Networks` that are other than usual.
    """

    def declare(function: Callable[..., Composition]) -> Callable[..., Composition]:
        hints = get_type_hints(function)
        own = [
            (one.name, hints[one.name], field(default=one.default))
            for one in list(inspect.signature(function).parameters.values())[2:]
        ]
        title = "".join(word.capitalize() for word in function.__name__.split("_"))
        settings = make_dataclass(title, own, bases=(Networks,), frozen=True)
        settings.__doc__ = function.__doc__
        RECIPES[name] = Recipe(
            name, summary, source, function, settings(**shared), training or Training(), measures, labels
        )
        return function

    return declare

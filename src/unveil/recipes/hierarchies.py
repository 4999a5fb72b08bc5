"""Recipes with several layers of latent variables."""

from __future__ import annotations

from dataclasses import replace

from unveil.data import Dataset
from unveil.errors import SettingError
from unveil.models import Group, Ladder
from unveil.networks import Centred, ConvBlock, ConvLadder, DenseBlock, DenseLadder, Mlp, PixelDecoder, Rise
from unveil.objectives import Distortion, Rate
from unveil.parts import Gaussian, Net, Standard
from unveil.recipes.recipe import RECIPES, Composition, Networks, likelihood_of, register, seeing
from unveil.training.config import Training


@register(
    "ladder",
    "several layers of latent vectors, from the most general to the most particular",
    "Sønderby et al. 2016, arXiv:1602.02282; residual posteriors of Vahdat & Kautz 2020, arXiv:2007.03898",
    hidden=(200,),
    training=Training(epochs=12, learning_rate=3e-3),
)
def ladder(data: Dataset, networks: Networks, layers: int = 3) -> Composition:
    """A ladder of fully connected layers.

    Attributes:
        layers: of latent variables, `latent` dimensions each.
    """
    if layers < 1:
        raise SettingError(f"a ladder cannot have {layers} layers; give at least 1")
    width, latent, gain = networks.hidden[-1], networks.latent, layers**-0.5
    up = seeing(data, lambda shape: DenseLadder(shape, width, layers), networks.gain)
    groups = [
        Group(
            DenseBlock(width, width, 2 * latent),
            DenseBlock(width, width, 2 * latent, context=width),
            DenseBlock(width, width, width, context=latent, gain=gain),
        )
        for _ in range(layers - 1)
    ]
    model = Ladder(
        Standard(latent),
        up,
        Net(Mlp((width,), (), (2 * latent,)), Gaussian(latent)),
        Mlp((latent,), (), (width,)),
        groups,
        networks.likelihood(data, inputs=(width,)),
    )
    return model, Distortion() + networks.warm(Rate())


@register(
    "nvae-small",
    "a vector, then latent images of growing size: a small convolutional hierarchy",
    "Vahdat & Kautz 2020, arXiv:2007.03898; Child 2021, arXiv:2011.10650",
    channels=(16, 32),
    kl_warmup=0.5,
    training=Training(epochs=4, learning_rate=4e-3),
)
def nvae_small(data: Dataset, networks: Networks, groups: int = 1, planes: int = 2) -> Composition:
    """A ladder of residual convolutions.

    Attributes:
        groups: of latent images at each size; there is a size for each of `channels`.
        planes: channels of each latent image.
    """
    if len(data.space.shape) != 3:
        raise SettingError(f"nvae-small is for images, and one example here has shape {data.space.shape}; take ladder")
    if min(groups, planes) < 1:
        raise SettingError(f"{groups} latent images of {planes} channels at each size cannot be; give at least 1")
    shape, latent = data.space.shape, networks.latent
    ladder = ConvLadder(shape, networks.channels, [groups] * len(networks.channels))
    up = Centred(ladder, shape)
    up.centre_at(data.train.mean())
    sizes = ladder.shapes()[::-1]
    gain = (groups * len(sizes)) ** -0.5
    rungs, above = [], sizes[0]
    for size in sizes:
        for _ in range(groups):
            width = size[0]
            rungs.append(
                Group(
                    ConvBlock(width, width, 2 * planes),
                    ConvBlock(width, width, 2 * planes, context=width),
                    ConvBlock(width, width, width, context=planes, gain=gain),
                    None if size == above else Rise(above[0], size),
                )
            )
            above = size
    head = likelihood_of(data)
    likelihood = Net(PixelDecoder(above, head.needs(shape)), head)
    likelihood.start(data.train.mean())
    posterior = Net(Mlp(sizes[0], (), (2 * latent,)), Gaussian(latent))
    model = Ladder(Standard(latent), up, posterior, Mlp((latent,), (), sizes[0]), rungs, likelihood)
    return model, Distortion() + networks.warm(Rate())


RECIPES["mnist-ladder"] = replace(
    RECIPES["nvae-small"].given(channels=(64, 96), groups=5, planes=4, kl_warmup=20.0),
    name="mnist-ladder",
    summary="for records on MNIST: ten latent images below a vector; 9 minutes on an H200, a day on 2 cores",
    training=Training(epochs=200, batch_size=512, learning_rate=3e-3, average=0.999, checkpoint_mib=16.0),
)

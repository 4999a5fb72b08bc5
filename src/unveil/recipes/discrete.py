"""Latent variables that are counted: one-hot classes, and codes chosen from an alphabet with a prior that learns them."""

from __future__ import annotations

from dataclasses import replace

import torch

from unveil.data import Dataset
from unveil.models import VAE
from unveil.networks import Centred, GridDecoder, GridEncoder, Summed
from unveil.networks.grid import grid_size
from unveil.objectives import Commitment, Distortion, Rate
from unveil.parts import (
    AutoregressiveCodes,
    Codebook,
    Lattice,
    Net,
    OneHot,
    Quantised,
    ResidualCodebook,
    UniformOneHot,
)
from unveil.parts.codebook import Quantiser
from unveil.recipes.recipe import Composition, Networks, likelihood_of, register
from unveil.training.config import Training

TRAINING = Training(epochs=15, learning_rate=2e-3)


@register(
    "gumbel-vae",
    "one-hot latent variables, learned through a relaxation",
    "Jang et al. 2017, arXiv:1611.01144; Maddison et al. 2017, arXiv:1611.00712",
    latent=20,
    gain=1.0,
    training=Training(epochs=20, learning_rate=6e-3),
)
def gumbel_vae(
    data: Dataset,
    networks: Networks,
    classes: int = 10,
    temperature: float = 1.0,
    lowest: float = 0.5,
    anneal: float = 0.1,
) -> Composition:
    """The VAE with `latent` one-hot variables.

    Attributes:
        classes: of each variable.
        temperature: of the relaxed gradient, to begin with.
        lowest: where the temperature stops to fall.
        anneal: how fast it falls, per epoch.
    """
    event = (networks.latent, classes)
    head = OneHot(networks.latent, classes, temperature, lowest, anneal)
    posterior = networks.posterior(data, head)
    likelihood = networks.likelihood(data, inputs=event)
    # as loud as a Gaussian z: ones among many zeros are a whisper, and the decoder takes epochs to hear them
    centred = Centred(likelihood.network, event, classes**0.5)
    centred.centre_at(torch.full(event, 1 / classes))
    model = VAE(UniformOneHot(networks.latent, classes), posterior, Net(centred, likelihood.head))
    return model, Distortion() + networks.warm(Rate())


def _chosen(data: Dataset, networks: Networks, alphabet: Quantiser, width: int, layers: int) -> VAE:
    """The VAE whose z are codes: `latent` of them from an mlp, one for each cell of the grid from a conv network."""
    shape, depth = data.space.shape, alphabet.depth
    if networks.network == "conv":
        low, high = grid_size(shape, len(networks.channels))
        networks = replace(networks, latent=low * high)
        encoder = Centred(GridEncoder(shape, networks.channels, alphabet.dimensions), shape, networks.gain)
        encoder.centre_at(data.train.mean())
        posterior = Net(encoder, Quantised(alphabet, networks.latent))
        head = likelihood_of(data)
        likelihood = Net(GridDecoder(alphabet.dimensions, networks.channels[::-1], head.needs(shape)), head)
        likelihood.start(data.train.mean())
    else:
        posterior = networks.posterior(data, Quantised(alphabet, networks.latent))
        likelihood = networks.likelihood(data, inputs=(networks.latent, alphabet.dimensions))
    if depth > 1:
        likelihood = Net(Summed(likelihood.network, depth), likelihood.head)
    return VAE(AutoregressiveCodes(alphabet, networks.latent, width, layers), posterior, likelihood)


@register(
    "vq-vae",
    "codes from a learned book, and a prior that writes them one by one",
    "van den Oord et al. 2017, arXiv:1711.00937",
    training=TRAINING,
)
def vq_vae(
    data: Dataset,
    networks: Networks,
    codes: int = 64,
    dimensions: int = 8,
    commitment: float = 0.25,
    decay: float = 0.99,
    width: int = 64,
    layers: int = 2,
) -> Composition:
    """The vector-quantised VAE with `latent` codes, or a grid of them from a conv network.

    Attributes:
        codes: how many there are to choose from.
        dimensions: of the vector of a code.
        commitment: what the encoder pays for its squared distance to the codes.
        decay: how much of its moving averages the codebook keeps at each step.
        width: of the prior's transformer.
        layers: of the prior's transformer.
    """
    model = _chosen(data, networks, Codebook(codes, dimensions, decay), width, layers)
    return model, Distortion() + Rate() + Commitment(commitment)


@register(
    "residual-vq-vae",
    "codes that refine each other: every book quantises what the former left",
    "Lee et al. 2022, arXiv:2203.01941",
    latent=8,
    training=TRAINING,
)
def residual_vq_vae(
    data: Dataset,
    networks: Networks,
    books: int = 2,
    codes: int = 64,
    dimensions: int = 8,
    commitment: float = 0.25,
    decay: float = 0.99,
    width: int = 64,
    layers: int = 2,
) -> Composition:
    """The VAE with `latent` positions, or a grid of them from a conv network, of several codes each.

    Attributes:
        books: codes for each position.
        codes: how many each book has to choose from.
        dimensions: of the vector of a code.
        commitment: what the encoder pays for its squared distance to the codes.
        decay: how much of its moving averages each codebook keeps at each step.
        width: of the prior's transformer.
        layers: of the prior's transformer.
    """
    alphabet = ResidualCodebook([Codebook(codes, dimensions, decay) for _ in range(books)])
    return _chosen(data, networks, alphabet, width, layers), Distortion() + Rate() + Commitment(commitment)


@register(
    "fsq-vae",
    "codes on a fixed grid, by rounding: no codebook to learn, none to collapse",
    "Mentzer et al. 2023, arXiv:2309.15505",
    training=TRAINING,
)
def fsq_vae(
    data: Dataset, networks: Networks, levels: tuple[int, ...] = (5, 4, 4), width: int = 64, layers: int = 2
) -> Composition:
    """The VAE with `latent` points of a lattice, or a grid of them from a conv network.

    Attributes:
        levels: of each number that is rounded; their product is the number of codes.
        width: of the prior's transformer.
        layers: of the prior's transformer.
    """
    return _chosen(data, networks, Lattice(levels), width, layers), Distortion() + Rate()

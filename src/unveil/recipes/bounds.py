"""The plain model under other bounds and constraints: what changes is the objective alone."""

from __future__ import annotations

from unveil.data import Dataset
from unveil.objectives import Capacity, Ciwae, Distortion, FreeBits, Geco, Miwae, Piwae, Rate, Renyi
from unveil.recipes.recipe import Composition, Networks, register

RAINFORTH = "Rainforth et al. 2018, arXiv:1802.04537"


@register("miwae", "the mean of several importance-weighted bounds", RAINFORTH, kl_warmup=0.0)
def miwae(data: Dataset, networks: Networks, outer: int = 2, inner: int = 3) -> Composition:
    """Several importance-weighted bounds for each example.

    Attributes:
        outer: M, how many bounds.
        inner: K, draws for each of them.
    """
    return networks.vae(data), Miwae(outer, inner, "dreg")


@register("piwae", "a loose bound for the encoder and a tight one for the decoder", RAINFORTH, kl_warmup=0.0)
def piwae(data: Dataset, networks: Networks, outer: int = 2, inner: int = 3) -> Composition:
    """Encoder and decoder under a bound each.

    Attributes:
        outer: M, how many bounds the encoder sees.
        inner: K, draws for each of them; the decoder sees one of M K draws.
    """
    return networks.vae(data), Piwae(outer, inner, "dreg")


@register("ciwae", "a mixture of the ELBO and the importance-weighted bound", RAINFORTH, kl_warmup=0.0)
def ciwae(data: Dataset, networks: Networks, samples: int = 5, beta: float = 0.5) -> Composition:
    """ELBO and importance-weighted bound at once.

    Attributes:
        samples: K, draws for each example.
        beta: the ELBO's share.
    """
    return networks.vae(data), Ciwae(samples, beta, "dreg")


@register(
    "renyi-vae",
    "a family of bounds from the ELBO to log p(x) and beyond",
    "Li & Turner 2016, arXiv:1602.02311",
    kl_warmup=0.0,
)
def renyi_vae(data: Dataset, networks: Networks, samples: int = 5, alpha: float = 0.5) -> Composition:
    """Rényi's bound.

    Attributes:
        samples: K, draws for each example.
        alpha: the order; 1 is the ELBO, 0 the importance-weighted bound.
    """
    return networks.vae(data), Renyi(samples, alpha, "dreg")


@register(
    "disentangled-beta-vae",
    "a rate held at a capacity that grows while training",
    "Burgess et al. 2018, arXiv:1804.03599",
    kl_warmup=0.0,
)
def disentangled_beta_vae(
    data: Dataset, networks: Networks, capacity: float = 25.0, epochs: float = 20.0, weight: float = 10.0
) -> Composition:
    """The beta-VAE that is let tell more and more.

    Attributes:
        capacity: nats that the rate is allowed, and told, to reach.
        epochs: over which the capacity rises from 0.
        weight: nats per nat away from the capacity.
    """
    return networks.vae(data), Distortion() + Capacity(Rate(), capacity, epochs, weight)


@register("free-bits-vae", "a rate that is free below a floor", "Kingma et al. 2016, arXiv:1606.04934")
def free_bits_vae(data: Dataset, networks: Networks, floor: float = 10.0) -> Composition:
    """The VAE that gains nothing by an empty latent space.

    Attributes:
        floor: nats that are free.
    """
    return networks.vae(data), Distortion() + networks.warm(FreeBits(floor))


@register(
    "geco-vae",
    "the smallest rate for which the distortion is within a tolerance",
    "Rezende & Viola 2018, arXiv:1810.00597",
    kl_warmup=0.0,
)
def geco_vae(data: Dataset, networks: Networks, tolerance: float = 0.1) -> Composition:
    """The VAE that is told how good its reconstructions have to be.

    Attributes:
        tolerance: nats of distortion allowed for each number in x.
    """
    return networks.vae(data), Geco(networks.warm(Rate()), tolerance * data.space.size)

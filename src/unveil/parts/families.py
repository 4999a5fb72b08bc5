"""torch.distributions as parts: a head that gives one of its families to a network, and one of them as it is for a prior.

A family is known by its name, in files too: of torch.distributions, and what it is called there. It is built from tensors
under the names of its constructor's arguments, of which logits do for probabilities and a Cholesky factor for a covariance.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions import Distribution, constraints, transform_to

from unveil.data import Measure
from unveil.distributions import DiagonalGaussian, Mixture
from unveil.errors import SettingError, unknown
from unveil.part import Conditional, Part
from unveil.parts.heads import BOUND, bounded
from unveil.parts.likelihoods import Entrywise, independent, split

FAMILIES: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(td.Bernoulli, td.Beta, td.Categorical, td.Cauchy, td.Chi2, td.Dirichlet, td.Exponential, td.FisherSnedecor),
        *(td.Gamma, td.Geometric, td.Gumbel, td.HalfCauchy, td.HalfNormal, td.InverseGamma, td.Laplace),
        *(td.LogNormal, td.LowRankMultivariateNormal, td.MultivariateNormal, td.NegativeBinomial, td.Normal),
        *(td.OneHotCategorical, td.Poisson, td.StudentT, td.Uniform),
    )
}
"""Those whose constructors take nothing but tensors that they keep. Kumaraswamy and Weibull, whose densities are lost in
float32 at parameters that a network soon gives, and VonMises, whose density is on a circle, are not among them."""
MEASURES: dict[Any, Measure] = {
    constraints.real: "real",
    constraints.positive: "real",
    constraints.nonnegative: "real",
    constraints.unit_interval: "unit",
    constraints.boolean: "binary",
    constraints.nonnegative_integer: "count",
}
"""What spaces of x the families of single variables are for, by their support."""
DOUBLED = {"probs": "logits", "covariance_matrix": "scale_tril", "precision_matrix": "scale_tril"}
"""Arguments for which there is another, that is taken."""


def parameters_of(kind: type[Distribution]) -> tuple[str, ...]:
    """The arguments that one of the families is built from."""
    names = [name for name in inspect.signature(kind).parameters if name != "validate_args"]
    return tuple(name for name in names if DOUBLED.get(name) not in names)


class Family(Entrywise):
    """Entries that are independent, each of one of torch's families: `Net(decoder, Family(torch.distributions.Gumbel))`.

    The parameters are those of the family one after another, kind by kind along the first dimension of an event. What may
    be any number is taken as it is; what may not is bounded smoothly and brought to where it may be by `transform_to`, so
    that a positive scale lies between 0.0025 and 400. As a likelihood it is for the space that is the family's support, and
    for real numbers where that is a half of the line; as a posterior it needs a family that reparameterises.

    Args:
        family: a class of torch.distributions, or its name.
        event_dims: how many trailing dimensions are the event, 3 for images.

    Raises:
        SettingError: no such family, or none of single variables.
    """

    def __init__(self, family: type[Distribution] | str, event_dims: int = 1) -> None:
        super().__init__(event_dims)
        if isinstance(family, Distribution):
            raise SettingError(
                f"a family is a class, and this {type(family).__name__} has parameters, which a network is to give; "
                f"give {type(family).__name__} itself"
            )
        self.family = family if isinstance(family, str) else family.__name__
        kind = FAMILIES.get(self.family)
        if kind is None or (not isinstance(family, str) and kind is not family):
            raise _not_known(self.family)
        if kind.support not in MEASURES:
            able = ", ".join(name for name, one in FAMILIES.items() if one.support in MEASURES)
            raise SettingError(f"{self.family} is no family of single variables with one support; those are {able}")
        self.kind, self.names = kind, parameters_of(kind)
        self.count, self.measures = len(self.names), (MEASURES[kind.support],)

    def forward(self, parameters: Tensor) -> Distribution:
        raw = split(parameters, self.count, self.event_dims)
        given = {name: self._brought(name, value) for name, value in zip(self.names, raw, strict=True)}
        return independent(self.kind(**given, validate_args=False), self.event_dims)

    def _brought(self, name: str, value: Tensor) -> Tensor:
        """A parameter where it may be, from any number."""
        constraint = self.kind.arg_constraints[name]
        if constraint is constraints.real:
            return value
        brought: Tensor = transform_to(constraint)(bounded(value, BOUND / 2))
        return brought


class Constant(Part):
    """One of torch's distributions as it is, given anything: a prior that learns nothing.

    `VAE(prior=distribution, ...)` makes one of what it is given. The distribution's tensors are buffers, which move with
    the model and are saved with it. Independent Gaussians and mixtures are given as what they are called here,
    `DiagonalGaussian` and `Mixture`, of which more is known: a divergence in closed form, and the way between two z.

    Args:
        distribution: over one z: one of the families that `FAMILIES` names, `Independent` of one, or `MixtureSameFamily`
            of those; or what the attribute of that name says of one, in lists.

    Raises:
        SettingError: another distribution, a batch of several, or one that is to be learned.
    """

    def __init__(self, distribution: Distribution | Sequence[Any]) -> None:
        super().__init__()
        tensors: list[Tensor] = []
        if isinstance(distribution, Distribution):
            if distribution.batch_shape or not distribution.event_shape:
                raise SettingError(
                    f"{type(distribution).__name__} of batch shape {tuple(distribution.batch_shape)} and event shape "
                    f"{tuple(distribution.event_shape)} is not over one z; give Independent({type(distribution).__name__}"
                    "(...), 1) with parameters of shape (D,)"
                )
            self.distribution = _said(distribution, tensors)
        else:
            self.distribution = list(distribution)
            tensors = [torch.zeros(shape) for shape in _shapes(self.distribution)]
        self.tensors = [f"tensor_{place}" for place in range(len(tensors))]
        for name, tensor in zip(self.tensors, tensors, strict=True):
            self.register_buffer(name, tensor.detach().clone().to(torch.get_default_dtype()))

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Distribution:
        return _made(self.distribution, iter([self.get_buffer(name) for name in self.tensors]))


def conditional(given: Conditional | Distribution) -> Conditional:
    """A part as it is, and of a distribution the part that gives it, whatever it is given itself."""
    return Constant(given) if isinstance(given, Distribution) else given


def _not_known(name: str) -> SettingError:
    return SettingError(
        f"{unknown('family', name, FAMILIES)}; of another distribution make a head or a prior of your own, as "
        "docs/extending.md shows"
    )


def _said(one: Distribution, tensors: list[Tensor]) -> list[Any]:
    """A distribution as its name and what it is built from: shapes, in whose order `tensors` gets the tensors."""
    if type(one) is td.Independent:
        return ["Independent", _said(one.base_dist, tensors), one.reinterpreted_batch_ndims]
    if type(one) is td.MixtureSameFamily:
        parts = (one.mixture_distribution, one.component_distribution)
        return ["MixtureSameFamily", *(_said(part, tensors) for part in parts)]
    if FAMILIES.get(type(one).__name__) is not type(one):
        raise _not_known(type(one).__name__)
    found = [getattr(one, name) for name in parameters_of(type(one))]
    if any(tensor.requires_grad for tensor in found):
        raise SettingError(
            f"{type(one).__name__} has parameters that are to be learned, and a distribution that is given as it is learns "
            "nothing; detach them, or take a prior that learns, such as MixtureOfGaussians()"
        )
    tensors += found
    return [type(one).__name__, *(list(tensor.shape) for tensor in found)]


def _shapes(said: Sequence[Any]) -> Iterator[list[int]]:
    """The shapes of the tensors of a distribution that was said so, in their order."""
    name, *parts = said
    if name in FAMILIES and len(parts) == len(parameters_of(FAMILIES[name])):
        yield from parts
    elif name == "Independent":
        yield from _shapes(parts[0])
    elif name == "MixtureSameFamily":
        for part in parts:
            yield from _shapes(part)
    else:
        raise _not_known(str(name))


def _made(said: Sequence[Any], tensors: Iterator[Tensor]) -> Distribution:
    """The distribution that was said so, from its tensors; `_shapes` has read it before."""
    name, *parts = said
    if name == "MixtureSameFamily":
        mixture, components = (_made(part, tensors) for part in parts)
        assert isinstance(mixture, td.Categorical)
        return Mixture(mixture.logits, components)
    if name == "Independent":
        base = _made(parts[0], tensors)
        if isinstance(base, td.Normal):
            return DiagonalGaussian(base.loc, base.scale.log(), parts[1])
        return independent(base, parts[1])
    kind = FAMILIES[name]
    return kind(**dict(zip(parameters_of(kind), tensors, strict=False)), validate_args=False)

"""Ways through latent spaces: which one a prior asks for, and that its points lie where they should."""

import pytest
import torch

from unveil.distributions import DiagonalGaussian, HyperbolicNormal, SphericalUniform, ways_of
from unveil.distributions.hyperbolic import Geodesic, add, to_tangent
from unveil.distributions.ways import Spherical, Straight
from unveil.errors import SettingError
from unveil.generation import interpolate
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.parts import Bernoulli, Gaussian, Net, OneHot, PoincareNormal, Standard, UniformOneHot, UniformSphere

SHARES = torch.linspace(0, 1, 9, dtype=torch.float64).unsqueeze(1)


def ends(size, seed=0):
    return torch.randn(2, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("prior", "names"),
    [
        (DiagonalGaussian(torch.zeros(2), torch.zeros(2)), ["straight", "spherical"]),
        (DiagonalGaussian(torch.zeros(3), torch.zeros(3)), ["spherical", "straight"]),
        (DiagonalGaussian(torch.ones(3), torch.zeros(3)), ["straight", "spherical"]),
        (DiagonalGaussian(torch.zeros(3), torch.arange(3.0)), ["straight", "spherical"]),
        (SphericalUniform(torch.zeros(3)), ["spherical"]),
        (HyperbolicNormal(torch.zeros(3), torch.zeros(3), 0.5), ["geodesic"]),
    ],
)
def test_a_prior_asks_for_its_way(prior, names):
    assert [way.name for way in ways_of(prior)] == names


@pytest.mark.parametrize("curvature", [0.3, 1.0, 4.0])
def test_a_geodesic_is_the_shortest_way_at_an_even_pace(curvature):
    a, b = 0.9 * torch.nn.functional.normalize(ends(3), dim=-1) / curvature**0.5
    way = Geodesic(curvature).between(a, b, SHARES)
    length = lambda x, y: to_tangent(add(-x, y, curvature), curvature).norm(dim=-1)  # noqa: E731
    assert torch.allclose(way[0], a)
    assert torch.allclose(way[-1], b)
    steps = length(way[:-1], way[1:])
    assert torch.allclose(steps, (length(a, b) / 8).expand(8))  # equal, and they add up to the distance
    assert way[4].norm() < 0.9 * a.norm()  # by way of the middle, where there is less room


def test_a_spherical_way_keeps_its_length_and_turns_evenly():
    a, b = ends(16)
    way = Spherical().between(a, b, SHARES)
    assert torch.allclose(way.norm(dim=1), torch.lerp(a.norm(), b.norm(), SHARES.squeeze(1)))
    assert torch.nn.functional.cosine_similarity(way[1:], way[:-1], dim=1).acos().std() < 1e-6


@pytest.mark.parametrize("b", [[0.0, 0.0], [-2.0, 0.0], [1.0, 0.0]])
def test_where_there_is_no_circle_the_way_is_straight(b):
    a, b = torch.tensor([1.0, 0.0]), torch.tensor(b)
    shares = SHARES.float()
    assert torch.allclose(Spherical().between(a, b, shares), Straight().between(a, b, shares))


def model_of(prior, size):
    network = Mlp((size,), (4,), (1, 2, 2))
    return VAE(prior, Net(Mlp((1, 2, 2), (4,), (2 * size,)), Gaussian(size)), Net(network, Bernoulli()))


def test_interpolating_goes_the_way_that_the_prior_asks_for():
    a, b = 0.4 * ends(3).float().clamp(-1, 1)
    between = {}
    for name, prior in {"ball": PoincareNormal(3), "sphere": UniformSphere(3), "flat": Standard(3)}.items():
        way = interpolate(model_of(prior, 3), a, b, 5)
        assert torch.allclose(way[[0, -1]], torch.stack([a, b]), atol=1e-6)
        between[name] = way[2]
    assert torch.allclose(between["flat"], between["sphere"])
    assert not torch.allclose(between["flat"], between["ball"], atol=1e-3)
    assert torch.allclose(interpolate(model_of(Standard(2), 2), a[:2], b[:2], 3)[1], (a[:2] + b[:2]) / 2)


def test_what_has_no_way_is_refused():
    with pytest.raises(SettingError, match="at least 2"):
        interpolate(model_of(Standard(2), 2), torch.zeros(2), torch.ones(2), 1)


def test_between_codes_there_is_nothing():
    assert ways_of(UniformOneHot(2, 3)(None)) == ()
    network = Net(Mlp((1, 2, 2), (4,), (6,)), OneHot(2, 3))
    model = VAE(UniformOneHot(2, 3), network, Net(Mlp((2, 3), (4,), (1, 2, 2)), Bernoulli()))
    with pytest.raises(SettingError, match="nothing between two codes"):
        interpolate(model, torch.eye(3)[:2], torch.eye(3)[1:], 5)

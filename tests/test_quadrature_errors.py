"""The error that quadrature states covers the true one, where the truth is a closed form."""

from math import log, pi

import pytest
import torch
from test_exact import model_of
from torch import nn

from unveil.data import LinearGaussian, Split
from unveil.data.reading import Plain
from unveil.evaluation.likelihood.evidence import evidence
from unveil.evaluation.likelihood.grid import Sums
from unveil.evaluation.likelihood.integral import judge
from unveil.models import VAE
from unveil.part import Part
from unveil.parts import Bernoulli, Gaussian, Isotropic, Net, Point, Standard

LEAST = {1: 1024, 2: 64**2, 3: 32**3}


def under(model, x, **settings):
    """log p(x) by quadrature."""
    model.register_parameter("weight", nn.Parameter(torch.zeros(1)))
    return evidence(model, Split("test", x, None, torch.arange(len(x)), Plain()), **settings)


@pytest.mark.parametrize(
    ("latent", "scale"), [(1, 0.5), (2, 0.5), (3, 0.5), (1, 0.005), (2, 0.05), (3, 0.3), (1, 20.0), (2, 20.0), (3, 20.0)]
)
def test_quadrature_meets_the_closed_form_whether_the_posterior_is_narrow_or_the_prior(latent, scale):
    truth = LinearGaussian.draw(8, latent, scale)
    x = truth.sample(25)
    found = under(model_of(truth), x)
    off = (found.log_p - truth.log_likelihood(x)).abs()
    assert (off <= found.error).all()
    assert (found.error < 1e-3 + found.rounding).all()
    assert found.log_p.dtype == torch.float64


@pytest.mark.parametrize("latent", [1, 2, 3])
@pytest.mark.parametrize("narrow", [3.0, 1.0, 0.7, 0.5, 0.35, 0.2, 0.1, 0.03])
def test_on_too_coarse_a_grid_the_stated_error_covers_the_true_one(latent, narrow):
    # posteriors of `narrow` times the spacing, the first grid being the only one
    spacing = 13.3 / LEAST[latent] ** (1 / latent)
    unit = LinearGaussian.draw(8, latent, 1.0, seed=3)
    size = torch.linalg.eigvalsh(unit.weight.T @ unit.weight).mean() ** 0.5
    truth = LinearGaussian(unit.weight, unit.bias, float(narrow * spacing * size))
    x = truth.sample(100)
    found = under(model_of(truth), x, points=LEAST[latent])
    off = (found.log_p - truth.log_likelihood(x)).abs()
    assert found.grid.points == LEAST[latent]
    assert (off <= found.error).all()
    assert narrow < 3 or found.error.max() < 1e-3  # what states nothing covers everything
    assert narrow > 0.2 or off.max() > 0.1


def lattice(density, spacing, offset, count=1000):
    """Of a density's sum over points of one dimension: what it is said to be, its error as stated, and its error."""
    place = torch.arange(-count, count, dtype=torch.float64)
    values = density((place + offset) * spacing).view(-1, 4).logsumexp(0)
    before = density((place[::2] + 0.5 + offset) * spacing).logsumexp(0) + log(2)
    sums = Sums(values.unsqueeze(1), torch.zeros(1), torch.full((1,), torch.inf), None)
    total, error, _ = judge(sums, before, torch.full((1,), -torch.inf))
    return sums, float(error), abs(float(total + log(spacing)))


def normal(z, scale=1.0):
    return -0.5 * (z / scale).square() - log(scale) - 0.5 * log(2 * pi)


DENSITIES = {
    "normal": normal,
    "logistic": lambda z: nn.functional.logsigmoid(z) + nn.functional.logsigmoid(-z),
    "kinked": lambda z: -z.abs() - log(2),
    "two widths": lambda z: torch.logaddexp(normal(z) + log(0.7), normal(z - 0.3, 0.15) + log(0.3)),
    "two peaks": lambda z: torch.logaddexp(normal(z - 3, 0.5) + log(0.5), normal(z + 2.1, 0.3) + log(0.5)),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_wherever_the_points_lie_the_error_is_covered(name):
    spacings = torch.logspace(-1.3, 1.5, 60).tolist()
    for spacing in spacings:
        for offset in torch.arange(0, 1, 0.0625).tolist():  # at a quarter two sums agree and both are wrong
            _, stated, off = lattice(DENSITIES[name], spacing, offset)
            assert off <= stated + 1e-12, (spacing, offset)
    assert lattice(DENSITIES[name], 0.05, 0.3)[1] < 1e-3


def test_errors_that_add_to_zero_at_one_shift_are_seen_at_others():
    # a narrow peak in the middle of a cell: every second point or each of them, the sum is the same
    sums, stated, off = lattice(lambda z: normal(z, 0.2), 1.0, 0.5)
    pairs = sums.residues[0].logaddexp(sums.residues[2]), sums.residues[1].logaddexp(sums.residues[3])
    assert torch.allclose(pairs[0], pairs[1], atol=1e-12)
    assert stated >= off > 1


class Spike(nn.Module):
    """The mean is 0 but for a spike of height 3, at 1.2345, and 4e-5 wide."""

    def forward(self, z):
        return 3 * torch.exp(-0.5 * ((z.double() - 1.2345) / 4e-5).square()).float().expand(-1, 5)


class There(Part):
    """A point as posterior: where the spike is, or at the origin."""

    def __init__(self, place):
        super().__init__()
        self.place = place

    def forward(self, given=None, context=None, leading=1):
        return Point(1)(torch.full((len(given), 1), self.place))


@pytest.mark.parametrize("place", [0.0, 1.2345])
def test_a_peak_between_the_points_is_found_where_the_encoder_points_at_it(place):
    x = torch.full((3, 5), 3.0)
    model = VAE(Standard(1), There(place), Net(Spike(), Isotropic(scale=0.3, learned=False)))
    found = under(model, x)
    # the broad part is a normal density of x at 0; over the spike by itself the sum is dense
    broad = 5 * float(normal(torch.tensor(3.0), 0.3))
    z = 1.2345 + torch.arange(-4e-4, 4e-4, 1e-7, dtype=torch.float64).unsqueeze(1)
    log_px = normal(3.0 - Spike()(z).double(), 0.3).sum(-1)
    narrow = (normal(z.squeeze(1)) + log_px).logsumexp(0) + log(1e-7)
    assert narrow > broad + 100
    off = (found.log_p - narrow.logaddexp(torch.tensor(broad))).abs()
    assert (off < 0.05).all() if place else (off > 100).all()


class Peaks(Part):
    """Two peaks of p(x|z) over a line, whatever x is; the second is 10 nats higher."""

    normalised = True

    def __init__(self, places, width):
        super().__init__()
        self.places, self.width = places, width

    def density(self, z):
        one, other = (-0.5 * ((z.double() - place) / self.width).square().sum(-1) for place in self.places)
        return one.logaddexp(other + 10)

    def forward(self, given=None, context=None, leading=1):
        return _Density(self.density(given))


class _Density(torch.distributions.Distribution):
    def __init__(self, nats):
        self.nats = nats
        super().__init__(nats.shape, torch.Size([5]), validate_args=False)

    def log_prob(self, value):
        return self.nats.expand(torch.broadcast_shapes(value.shape[:-1], self.nats.shape))


def test_a_peak_between_the_points_is_not_left_out_for_a_lower_one_on_a_point():
    def model(places, width):
        return VAE(Standard(1), There(0.0), Peaks(places, width))

    x = torch.zeros(1, 5)
    first = under(model((0.0, 0.0), 1.0), x, points=1024).grid  # the box is the same whatever the likelihood
    spacing = 2 * first.spacing[0]
    places = [first.low[0] + (at + 0.5) * spacing for at in (100, 330.5)]  # on a point of the first grid, and in the middle
    peaks = model(places, spacing / 20)
    found = under(peaks, x)
    z = torch.cat([place + torch.linspace(-1, 1, 4001, dtype=torch.float64) * spacing / 2 for place in places]).unsqueeze(1)
    exact = (normal(z.squeeze(1)) + peaks.likelihood.density(z)).logsumexp(0) + log(spacing / 4000)
    assert found.error < 1e-3
    assert abs(found.log_p - exact) <= found.error


class Far(Part):
    def forward(self, given=None, context=None, leading=1):
        return Point(2)(torch.zeros(len(given), 2))


def test_the_box_grows_until_nothing_lies_beyond():
    truth = LinearGaussian.draw(8, 2, 0.4)
    z = torch.tensor([[0.0, 0.0], [8.0, -1.0], [0.0, 13.0], [-25.0, 20.0]])
    x = z @ truth.weight.T + truth.bias
    model = model_of(truth)
    model.posterior = Far()  # nobody says where to look
    found = under(model, x)
    assert (truth.posterior(x).mean.abs().amax(1)[1:] > 6.7).all()
    off = (found.log_p - truth.log_likelihood(x)).abs()
    assert (off <= found.error).all()
    assert (found.error < 1e-3 + found.rounding).all()
    # where nothing lies beyond, it stays: the prior's five standard deviations and a shell
    assert under(model, x[:1]).grid.high == pytest.approx((6.7, 6.7), abs=0.2)


def test_what_the_box_cuts_off_is_in_the_error(monkeypatch):
    monkeypatch.setattr("unveil.evaluation.likelihood.integral.GROWTHS", 0)
    truth = LinearGaussian.draw(8, 1, 2.0)
    monkeypatch.setattr("unveil.evaluation.likelihood.evidence.REACH", 0.0)
    monkeypatch.setattr("unveil.evaluation.likelihood.evidence.DRAWS", 20)
    x = truth.sample(50)
    found = under(model_of(truth), x)
    off = (found.log_p - truth.log_likelihood(x)).abs()
    assert off.max() > 0.01
    assert (off <= found.error).all()


def test_the_rounding_that_is_stated_covers_tables_whose_parts_cancel():
    """784 pixels with large logits: sums near 1000 whose difference is near 100."""
    torch.manual_seed(0)
    model = VAE(Standard(1), Net(nn.Linear(784, 2), Gaussian(1)), Net(nn.Linear(1, 784), Bernoulli(1)))
    with torch.no_grad():
        model.likelihood.network.bias.copy_(14 * torch.randn(784).sign())
        for part in (model.posterior.network.weight, model.likelihood.network.weight):
            part.mul_(0.01)
    x = (torch.rand(20, 784) < torch.sigmoid(model.likelihood.network.bias / 7)).float()
    found = evidence(model, Split("test", x, None, torch.arange(20), Plain("binary")), tolerance=0.1)
    z = torch.linspace(-8, 8, 4_001, dtype=torch.float64).unsqueeze(1)
    with torch.no_grad():
        logits = model.likelihood.network.double()(z)
    log_px = -nn.functional.softplus((1 - 2 * x.double().unsqueeze(1)) * logits).sum(-1)
    exact = (log_px - 0.5 * z.squeeze(1) ** 2 - 0.5 * log(2 * pi)).logsumexp(1) + log(16 / 4_000)
    off = (found.log_p - exact).abs()
    assert float(found.rounding.min()) > 2.0**-20 * 200  # more than the last digits of log p(x)
    assert bool((off <= found.error).all())

"""Likelihoods against closed forms, quadrature, exact sums, and SciPy."""

from dataclasses import replace
from math import exp, log
from typing import get_args

import numpy as np
import pytest
import torch
from cases.likelihoods import KINDS, images, numbers
from scipy import stats
from scipy.special import gammaln

from unveil.data import MEANING, Batch, Measure, column, from_arrays
from unveil.data.columns import ADMITTED
from unveil.distributions import (
    CountNegativeBinomial,
    CountPoisson,
    CutLogistic,
    LevelBetaBinomial,
    LevelCategorical,
    PositiveNormal,
    TiltedUniform,
)
from unveil.errors import DataError, SettingError
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.parts import (
    BetaBinomial,
    Columns,
    ContinuousBernoulli,
    DiscretisedLogistic,
    Gaussian,
    Laplace,
    Levels,
    LogisticMixture,
    NegativeBinomial,
    Net,
    OptimalSigma,
    Poisson,
    Standard,
    StudentT,
    likelihood_for,
)
from unveil.parts.columns import KINDS as KNOWN_KINDS
from unveil.preflight import check

D = 7
TABLE = torch.tensor([[-3.0, 0.0, 0.0, 1e-6, 0.0, 9.0, 1.0], [40.0, 10_000.0, 4.0, 1e6, 2.0, 0.0, 0.0]])
LEVELS = [DiscretisedLogistic(17, 1), LogisticMixture(3, 17, 1), Levels(17, 1), BetaBinomial(17, 1)]
ENDS = torch.tensor([[0.0], [8.0], [16.0]]).expand(3, D)
HEADS = [
    *((head, ENDS) for head in LEVELS),
    (ContinuousBernoulli(1), torch.tensor([[0.0], [0.3], [1.0]]).expand(3, D)),
    *((head, torch.tensor([[-100.0], [0.0], [7.5]]).expand(3, D)) for head in (Laplace(), StudentT(), OptimalSigma())),
    *((head, torch.tensor([[0.0], [1.0], [1e6]]).expand(3, D)) for head in (Poisson(), NegativeBinomial())),
    (Columns(KINDS), TABLE),
]
NAMES = [type(head).__name__ for head, _ in HEADS]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
@pytest.mark.parametrize(("head", "x"), HEADS, ids=NAMES)
def test_heads_stay_finite_whatever_the_network_says(head, x, size, dtype):
    torch.manual_seed(0)
    raw = size * torch.randn(40, 1, *head.needs((D,)))
    raw[0], raw[1] = size, -size
    raw = raw.to(dtype).requires_grad_(True)
    made = head(raw)
    assert made.batch_shape == (40, 1)
    assert made.event_shape == (D,)
    log_p = made.log_prob(x)
    assert log_p.shape == (40, len(x))
    assert log_p.dtype == torch.float32
    assert log_p.isfinite().all()
    (gradient,) = torch.autograd.grad(log_p.sum(), raw)
    assert gradient.isfinite().all()
    assert made.mean.isfinite().all()
    assert made.sample((2,)).isfinite().all()
    assert made.sample((2,)).shape == (2, 40, 1, D)


@pytest.mark.parametrize("size", [1.0, 10.0, 1e4])
@pytest.mark.parametrize("head", LEVELS, ids=lambda head: type(head).__name__)
def test_levels_sum_to_one_with_mean_and_variance_as_stated(head, size):
    torch.manual_seed(0)
    made = head(size * torch.randn(300, *head.needs((1,))))
    x = torch.arange(17.0).view(-1, 1, 1)
    p = made.log_prob(x).double().exp()
    assert (p.sum(0) - 1).abs().max() < 2e-5
    mean = (p * x[..., 0]).sum(0)
    assert torch.allclose(made.mean[..., 0].double(), mean, atol=5e-4)
    assert torch.allclose(made.variance[..., 0].double(), (p * (x[..., 0] - mean).square()).sum(0), atol=5e-3)


@pytest.mark.parametrize("head", [*LEVELS, Poisson(), NegativeBinomial()], ids=lambda head: type(head).__name__)
def test_samples_have_the_frequencies_that_the_density_gives(head):
    torch.manual_seed(0)
    made = head(torch.randn(head.needs((1,))))
    n, x = 100_000, torch.arange(17.0).view(-1, 1)
    seen = made.sample((n,))
    p = made.log_prob(x).double().exp()
    share = (seen == x.T).double().mean(0)
    assert ((share - p) / (p * (1 - p) / n).sqrt())[p > 1e-4].abs().max() < 4.5


@pytest.mark.parametrize("head", [Poisson(), NegativeBinomial()], ids=lambda head: type(head).__name__)
def test_counts_sum_to_one(head):
    made = head(torch.tensor([[-3.0, 1.0], [0.5, 0.0], [4.0, 2.0]])[:, : head.count])
    total = made.log_prob(torch.arange(5000.0).view(-1, 1, 1)).double().exp().sum(0)
    assert (total - 1).abs().max() < 2e-5


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_exact_in_float32_however_large(seed):
    """Differences of log-gammas as they stand are wrong by whole nats here."""
    torch.manual_seed(seed)
    log_mean, log_shape = torch.empty(400).uniform_(-8, 15), torch.empty(400).uniform_(-11, 11)
    x = (torch.empty(60, 1).uniform_(0, 16).exp() - 1).round()
    x[:12] = torch.arange(12.0).view(-1, 1)
    # the parameters are what float32 makes of the exponentials
    m, k, value = (tensor.double().numpy() for tensor in (log_mean.exp(), log_shape.exp(), x))
    exact = gammaln(value + k) - gammaln(k) - gammaln(value + 1) - k * np.log1p(m / k) - value * np.log1p(k / m)
    given = CountNegativeBinomial(log_mean, log_shape).log_prob(x).double().numpy()
    assert (np.abs(given - exact) / (1 + np.abs(exact))).max() < 2e-5
    exact = stats.poisson.logpmf(value, m)
    given = CountPoisson(log_mean).log_prob(x).double().numpy()
    assert (np.abs(given - exact) / (1 + np.abs(exact))).max() < 2e-5


def test_counts_near_their_mean_lose_no_nats():
    x, log_rate = torch.tensor([9_900.0, 10_000.0, 10_150.0]), torch.tensor(10_000.0).log()
    exact = stats.poisson.logpmf(x, log_rate.exp().item())
    assert np.abs(CountPoisson(log_rate).log_prob(x).double().numpy() - exact).max() < 1e-4


def test_beta_binomial_is_scipys_from_all_or_nothing_to_the_binomial():
    torch.manual_seed(0)
    made = LevelBetaBinomial(torch.empty(200).uniform_(-8, 8), torch.empty(200).uniform_(-9, 9), 256)
    x = torch.arange(256.0).view(-1, 1)
    exact = stats.betabinom.logpmf(x.numpy(), 255, made.alpha.double().numpy(), made.beta.double().numpy())
    given = made.log_prob(x).double().numpy()
    assert (np.abs(given - exact) / (1 + np.abs(exact))).max() < 1e-4


L = torch.tensor([-50.0, -3.0, -0.51, -0.5, -0.49, -1e-3, -1e-9, 0.0, 1e-6, 1e-2, 0.3, 0.4999, 0.5001, 1.0, 8.0, 200.0])


def test_the_continuous_bernoulli_integrates_to_one_with_mean_and_variance_as_stated():
    x, weights = np.polynomial.legendre.leggauss(400)
    x, weights = torch.from_numpy(x).add(1).div(2).view(-1, 1), torch.from_numpy(weights).div(2).view(-1, 1)
    made = TiltedUniform(L.double())
    p = made.log_prob(x).exp() * weights
    mean = (p * x).sum(0)
    assert torch.allclose(p.sum(0), torch.ones_like(mean), atol=1e-9)
    assert torch.allclose(made.mean, mean, atol=1e-9)
    assert torch.allclose(made.variance, (p * (x - mean).square()).sum(0), atol=1e-9)


def test_the_continuous_bernoulli_is_the_one_of_the_paper_in_float32_too():
    x = torch.linspace(0, 1, 11).view(-1, 1)
    single, double = TiltedUniform(L), TiltedUniform(L.double())
    far = L.abs() > 0.2  # nearer to the uniform density torch's own takes a series of two terms
    paper = torch.distributions.ContinuousBernoulli(logits=L[far].double(), validate_args=False)
    keep = L[far].abs() < 30  # beyond, it clamps the probabilities
    theirs = paper.log_prob(x.double())[:, keep]
    assert torch.allclose(double.log_prob(x.double())[:, far][:, keep], theirs, atol=1e-6)
    assert torch.allclose(single.log_prob(x).double(), double.log_prob(x.double()), rtol=1e-6, atol=1e-6)
    assert torch.allclose(single.mean.double(), double.mean, atol=2e-7)
    assert torch.allclose(single.variance.double(), double.variance, atol=2e-6)


def test_the_continuous_bernoulli_of_logit_0_is_uniform_and_has_a_gradient():
    logits = torch.zeros(3, requires_grad=True)
    x = torch.tensor([0.0, 0.3, 1.0])
    log_p = TiltedUniform(logits).log_prob(x)
    assert torch.equal(log_p, torch.zeros(3))
    (gradient,) = torch.autograd.grad(log_p.sum(), logits)
    assert torch.allclose(gradient, x - 0.5)
    # of the second order as well, and where one value meets many logits
    given = torch.tensor([-2.0, 0.1, 0.0], dtype=torch.float64, requires_grad=True)
    value = torch.tensor([[0.2], [0.9]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda logits, x: TiltedUniform(logits).log_prob(x), (given, value))


FAMILIES = [
    (TiltedUniform, ([-3.0, -0.2, 0.0, 0.3, 40.0],), 0.3),
    (lambda a, b: CutLogistic(a, b, torch.arange(9.0, dtype=a.dtype)), ([-30.0, 0.5, 8.3], [0.3, -1.0, 0.1]), 3.0),
    (CountPoisson, ([-3.0, 0.5, 8.0],), 4.0),
    (CountNegativeBinomial, ([-3.0, 0.5, 8.0], [-6.0, 0.4, 5.0]), 4.0),
    (CountNegativeBinomial, ([-3.0, 0.5], [-6.0, 0.4]), 0.0),
    (lambda a, b: LevelBetaBinomial(a, b, 17), ([-6.0, 0.5, 3.0], [-6.0, 0.4, 6.0]), 4.0),
    (PositiveNormal, ([-3.0, 0.5], [-1.0, 0.4]), 0.7),
]


@pytest.mark.parametrize(("make", "parameters", "x"), FAMILIES)
def test_gradients_are_those_of_finite_differences(make, parameters, x):
    given = [torch.tensor(values, dtype=torch.float64, requires_grad=True) for values in parameters]
    value = torch.tensor(x, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *tensors: make(*tensors).log_prob(value), given, rtol=1e-4)


def test_the_discretised_logistic_is_a_difference_of_sigmoids_with_open_ends():
    torch.manual_seed(0)
    head = DiscretisedLogistic(256, 1)
    raw = torch.randn(2).double()
    made = head(raw)
    loc, scale = 127.5 * (raw[0] + 1), 127.5 * (7 * torch.tanh(raw[1] / 7)).exp()
    edges = torch.cat([torch.tensor([-torch.inf]), torch.arange(255) + 0.5, torch.tensor([torch.inf])]).double()
    exact = torch.sigmoid((edges - loc) / scale).diff()
    given = made.log_prob(torch.arange(256.0).view(-1, 1)).double()
    assert torch.allclose(given, exact.log(), atol=1e-4)


def test_levels_far_from_the_mean_still_have_a_log_probability_and_a_gradient():
    """The plain difference of sigmoids is 0 there, and its logarithm minus infinity."""
    loc = torch.tensor([300.0], requires_grad=True)
    log_p = CutLogistic(loc, torch.zeros(1), torch.arange(255.0) + 0.5).log_prob(torch.tensor([100.0]))
    assert abs(log_p.item() - (-199.5 + log(1 - exp(-1)))) < 1e-3
    assert torch.autograd.grad(log_p, loc)[0].item() == pytest.approx(-1.0)


def test_cuts_that_rounding_laid_upon_each_other_have_finite_nats_between_them():
    log_p = CutLogistic(torch.zeros(1), torch.zeros(1), torch.tensor([1.0, 1.0, 2.0])).log_prob(torch.ones(1))
    assert -100 < log_p.item() < -50


def test_samples_are_all_or_nothing_where_the_gamma_variables_underflow():
    torch.manual_seed(0)
    x = LevelBetaBinomial(torch.tensor(0.3).logit(), torch.tensor(-11.0), 256).sample((20_000,))
    assert abs((x == 255).float().mean() - 0.3) < 4 * (0.3 * 0.7 / 20_000) ** 0.5
    assert ((x == 0) | (x == 255)).float().mean() > 0.999


def test_a_mixture_of_logistics_is_the_mixture_of_its_components():
    torch.manual_seed(0)
    raw = torch.randn(5, 3 * 3 * 2, 2, 2)
    x = torch.randint(0, 17, (5, 2, 2, 2)).float()
    logits, loc, log_scale = raw.view(5, 3, 3, 2, 2, 2).unbind(1)
    each = [DiscretisedLogistic(17, 1)(torch.stack([loc[:, i], log_scale[:, i]], -1).flatten(0, -2)) for i in range(3)]
    weighted = [made.log_prob(x.view(-1, 1)) for made in each]
    weights = logits.log_softmax(1).unbind(1)
    exact = torch.stack([w + p.view(5, 2, 2, 2) for w, p in zip(weights, weighted, strict=True)]).logsumexp(0)
    assert torch.allclose(LogisticMixture(3, 17, 3)(raw).log_prob(x), exact.sum((1, 2, 3)), atol=1e-4)


def test_laplace_and_student_are_scipys():
    torch.manual_seed(0)
    raw, x = torch.randn(9), torch.randn(4, 3) * 5
    scale = np.exp(6 * np.tanh(raw[3:6].double().numpy() / 6))
    exact = stats.laplace.logpdf(x, raw[:3], scale).sum(1)
    assert np.abs(Laplace()(raw[:6]).log_prob(x).numpy() - exact).max() < 1e-4
    degrees = 2 + np.exp(3 * np.tanh(raw[6:].double().numpy() / 3))
    exact = stats.t.logpdf(x, degrees, raw[:3], scale).sum(1)
    assert np.abs(StudentT()(raw).log_prob(x).numpy() - exact).max() < 1e-4


def draw_of(head, x):
    """The draw of a VAE with this likelihood, of x (B, 4)."""
    torch.manual_seed(0)
    model = VAE(Standard(2), Net(Mlp((4,), (8,), (4,)), Gaussian(2)), Net(Mlp((2,), (8,), head.needs((4,))), head))
    return model, model.draw(Batch(x, torch.arange(len(x)), len(x)), 3)


def test_optimal_sigma_is_the_error_of_the_last_steps_and_its_gradient_that_of_the_log_error():
    x = 3 * torch.randn(50, 4)
    head = OptimalSigma()
    model, draw = draw_of(head, x)
    head.update(draw)
    error = (x - draw.output.mean).square()
    assert torch.allclose(head.variance, error.mean())
    # with sigma a constant at its best value, the gradient is that of D / 2 log of the error, in the mean over examples
    weights = list(model.likelihood.network.parameters())
    fitted = torch.autograd.grad(-head(draw.output.mean).log_prob(x).mean(), weights, retain_graph=True)
    profiled = torch.autograd.grad(4 / 2 * error.mean().log(), weights)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(fitted, profiled, strict=True))
    assert fitted[0].abs().max() > 1e-3
    for _ in range(200):
        head.update(replace(draw, output=head(draw.output.mean.detach() + 1)))
    assert torch.allclose(head.variance, (x - draw.output.mean - 1).square().mean(), rtol=1e-3)


def test_optimal_sigma_is_a_normalised_density_whatever_x_is_judged():
    """Under a sigma taken from the very x that is judged, p(x) of one number is c / |x|, which has no integral."""
    head = OptimalSigma()
    head.variance.fill_(0.25)
    x = torch.linspace(-20, 20, 40_001).view(-1, 1)
    assert head(torch.zeros(1)).log_prob(x).exp().sum().item() * 1e-3 == pytest.approx(1, abs=1e-4)
    assert head.normalised


@pytest.mark.parametrize(
    ("head", "mean"),
    [
        (ContinuousBernoulli(1), torch.tensor([0.06, 0.5, 0.94])),
        (BetaBinomial(17, 1), torch.tensor([0.1, 8.0, 15.5])),
        (Poisson(), torch.tensor([0.01, 3.0, 20_000.0])),
        (NegativeBinomial(), torch.tensor([0.01, 3.0, 20_000.0])),
        (Laplace(), torch.tensor([-3.0, 0.0, 50.0])),
        (StudentT(), torch.tensor([-3.0, 0.0, 50.0])),
        (OptimalSigma(), torch.tensor([-3.0, 0.0, 50.0])),
        (Columns(("positive", "real", "count")), torch.tensor([3.0, -2.0, 5.0])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_fresh_likelihood_begins_at_the_mean_of_the_data(head, mean):
    assert torch.allclose(head(head.start(mean)).mean, mean, rtol=1e-3)


def test_logistics_begin_near_the_mean_of_the_data():
    mean = torch.tensor([30.0, 128.0, 230.0])
    for head in (DiscretisedLogistic(256, 1), LogisticMixture(5, 256, 1)):
        assert (head(head.start(mean)).mean - mean).abs().max() < 25  # the ends take in the tails


def test_columns_are_the_sum_of_their_own_likelihoods_in_the_order_of_the_table():
    torch.manual_seed(0)
    head = Columns(KINDS)
    raw = torch.randn(head.needs((D,)))
    x = torch.tensor([0.3, 4.0, 2.0, 1.7, 1.0, -1.2, 1.0])
    # groups stand in the order of their first column: real (0, 5), count (1), ordinal:5 (2), positive (3), ...
    reals, count, ordinal, positive, categorical, binary = raw.double().split([4, 2, 4, 2, 3, 1])

    def scale(raw):
        return (6 * torch.tanh(raw / 6)).exp()

    def cumulative(loc, gaps):
        cuts = torch.tensor([-torch.inf, 0.0, *gaps.cumsum(0).tolist(), torch.inf]).double()
        return torch.sigmoid(cuts - loc).diff().log()

    mean, shape = (16 * torch.tanh(count[0] / 16)).exp(), (12 * torch.tanh(count[1] / 12)).exp()
    exact = [
        stats.norm.logpdf(x[0], reals[0], scale(reals[2])),
        stats.nbinom.logpmf(4, shape, shape / (shape + mean)),
        cumulative(ordinal[0], (5 * torch.tanh(ordinal[1:] / 5)).exp())[2],
        stats.lognorm.logpdf(x[3], scale(positive[1]), scale=exp(positive[0])),
        categorical.log_softmax(0)[1],
        stats.norm.logpdf(x[5], reals[1], scale(reals[3])),
        torch.sigmoid(binary[0]).log(),
    ]
    made = head(raw)
    assert np.abs(made.log_probs(x).numpy() - np.array(exact, float)).max() < 1e-5
    assert made.log_prob(x).item() == pytest.approx(float(sum(exact)), abs=1e-4)


@pytest.mark.parametrize("size", [1.0, 10.0, 1e4])
@pytest.mark.parametrize("kind", ["ordinal:2", "ordinal:9", "categorical:2", "categorical:9"])
def test_classes_of_a_column_sum_to_one(kind, size):
    torch.manual_seed(0)
    head = Columns((kind,))
    made = head(size * torch.randn(50, *head.needs((1,))))
    total = made.log_prob(torch.arange(float(kind[-1])).view(-1, 1, 1)).double().exp().sum(0)
    assert (total - 1).abs().max() < 1e-5


def test_a_positive_column_is_a_density_of_x_and_not_of_its_logarithm():
    x = torch.linspace(-8, 8, 20_001).double().exp()
    p = PositiveNormal(torch.tensor(0.3).double(), torch.tensor(-0.5).double()).log_prob(x).exp()
    assert torch.trapezoid(p, x).item() == pytest.approx(1, abs=1e-5)


def test_the_mean_of_a_categorical_column_is_its_most_probable_class():
    head = Columns(("real", "categorical:3"))
    made = head(torch.tensor([0.5, 0.0, 2.0, 0.0, 2.1]))
    assert made.mean.tolist() == [0.5, 2.0]
    assert LevelCategorical(torch.tensor([2.0, 0.0, 2.0])).mean.item() == pytest.approx(1.0)


def test_samples_of_a_table_stand_in_their_own_columns():
    torch.manual_seed(0)
    head = Columns(KINDS)
    x = head(torch.zeros(head.needs((D,)))).sample((500,))
    for place, kind in enumerate(KINDS):
        one = column(kind)
        assert ADMITTED[one.kind][0](x[:, place], one.classes).all()
    assert (x[:, 0] < 0).any()


@pytest.mark.parametrize("measure", get_args(Measure))
def test_every_measure_has_a_meaning_and_a_likelihood(measure):
    assert measure in MEANING
    assert measure in likelihood_for(measure, 1, 17, KINDS).measures


def test_every_kind_of_column_has_a_likelihood():
    assert set(KNOWN_KINDS) == set(ADMITTED)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Columns(("reel",)), "did you mean 'real'"),
        (lambda: Columns(("ordinal",)), "write 'ordinal:5'"),
        (lambda: Columns(("real:2",)), "write 'real'"),
        (lambda: Columns(("categorical:1",)), "at least 2"),
        (lambda: Columns("real"), "a sequence"),
        (lambda: Columns(("real",)).needs((2,)), "shape"),
        (lambda: Levels(1), "at least 2"),
        (lambda: LogisticMixture(0), "at least 1"),
        (lambda: Laplace(0), "at least 1"),
        (lambda: OptimalSigma(1, 0), "at least 1"),
        (lambda: ContinuousBernoulli(1, -1.0), "above 0"),
        (lambda: Laplace()(torch.zeros(2, 3)), "takes 2 numbers"),
    ],
)
def test_what_cannot_be_says_why(make, message):
    with pytest.raises((SettingError, DataError), match=message):
        make()


def test_bytes_and_integers_are_read_as_levels_and_counts():
    gray = images("levels")()
    assert gray.space.measure == gray.train.reading.measure == "levels"
    assert (gray.space.levels, gray.space.white, gray.space.is_image) == (256, 255.0, True)
    x = gray.train.fixed(0)
    assert x.dtype == torch.float32
    assert x.max() == gray.train.values.max() > 200
    counts = numbers("count")()
    assert counts.space.measure == "count"
    assert not counts.space.is_image
    assert from_arrays(np.ones((10, 3), np.uint8), measure="count").space.measure == "count"
    table = numbers("columns", KINDS)()
    assert table.space.columns == KINDS
    assert "ordinal:5" in str(table.space)


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        (np.ones((10, 3), int), {}, "measure='count'"),
        (-np.ones((10, 3), int), {"measure": "count"}, "no counts"),
        (np.full((10, 3), 0.5), {"measure": "count"}, "no counts"),
        (np.full((10, 3), 2**25), {"measure": "count"}, "no counts"),
        (np.full((10, 3), 20, np.uint8), {"measure": "levels", "levels": 16}, "said to end at 16"),
        (np.ones((10, 3)), {"measure": "levels"}, "real numbers"),
        (np.ones((10, 2)), {"columns": ("real",)}, "1 columns were named"),
        (np.zeros((10, 2)), {"columns": ("real", "positive")}, "column 1 that are not positive"),
        (np.full((10, 1), 3), {"columns": ("ordinal:3",)}, "not ordinal:3"),
        (np.full((10, 1), 0.5), {"columns": ("categorical:3",)}, "not categorical:3"),
    ],
)
def test_data_that_are_not_what_they_are_said_to_be_are_refused(values, settings, message):
    with pytest.raises(DataError, match=message):
        from_arrays(values, **settings)


def test_a_likelihood_for_another_measure_is_refused():
    model, _ = draw_of(Laplace(), torch.randn(5, 4))
    with pytest.raises(SettingError, match="'real' data"):
        check(model, from_arrays(np.ones((50, 4), int), measure="count"))

"""What every likelihood is held to: finite nats, gradients of finite differences, and a start at the data."""

import pytest
import torch
from cases.likelihoods import KINDS
from helpers.likelihoods import LEVELS, D

from unveil.distributions import (
    CountNegativeBinomial,
    CountPoisson,
    CutLogistic,
    LevelBetaBinomial,
    PositiveNormal,
    TiltedUniform,
)
from unveil.errors import DataError, SettingError
from unveil.parts import (
    BetaBinomial,
    Columns,
    ContinuousBernoulli,
    DiscretisedLogistic,
    Isotropic,
    Laplace,
    Levels,
    LogisticMixture,
    NegativeBinomial,
    OptimalSigma,
    Poisson,
    StudentT,
)

TABLE = torch.tensor([[-3.0, 0.0, 0.0, 1e-6, 0.0, 9.0, 1.0], [40.0, 10_000.0, 4.0, 1e6, 2.0, 0.0, 0.0]])
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


@pytest.mark.parametrize("scale", [0.02, 1.0, 50.0])
def test_a_learned_scale_begins_where_it_is_told(scale):
    assert Isotropic(1, scale)(torch.zeros(1, 3)).stddev[0, 0].item() == pytest.approx(scale, rel=1e-4)


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

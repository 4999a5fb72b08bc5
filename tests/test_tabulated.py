"""Every x under every one of many distributions: by products where there are some, else entry by entry, and the same."""

import pytest
import torch
from cases.likelihoods import KINDS
from helpers.likelihoods import LEVELS, D

from unveil.distributions import DiagonalGaussian, IndependentBernoulli, Tabulated, table
from unveil.parts import (
    Bernoulli,
    Columns,
    ContinuousBernoulli,
    Gaussian,
    Isotropic,
    Laplace,
    NegativeBinomial,
    OptimalSigma,
    Poisson,
    StudentT,
)

G, N = 9, 7
SOURCE = torch.Generator().manual_seed(0)
REAL, BITS = 3 * torch.randn(N, D, generator=SOURCE), (torch.rand(N, D, generator=SOURCE) < 0.5).float()
COUNTS = torch.randint(0, 17, (N, D), generator=SOURCE).float()
ROWS = torch.stack(
    [REAL[:, 0], COUNTS[:, 1], COUNTS[:, 2] % 5, REAL[:, 3].exp(), COUNTS[:, 4] % 3, REAL[:, 5], BITS[:, 6]], 1
)
HEADS = [
    (Bernoulli(1), BITS),
    (Gaussian(D), REAL),
    (Isotropic(), REAL),
    (OptimalSigma(), REAL),
    (Laplace(), REAL),
    (StudentT(), REAL),
    (ContinuousBernoulli(1), torch.rand(N, D, generator=SOURCE)),
    (Poisson(), COUNTS),
    (NegativeBinomial(), COUNTS),
    *((head, COUNTS) for head in LEVELS),
    (Columns(KINDS), ROWS),
]


@pytest.mark.parametrize(("head", "x"), HEADS, ids=[type(head).__name__ for head, _ in HEADS])
def test_a_table_holds_what_log_prob_gives_one_by_one(head, x, monkeypatch):
    monkeypatch.setattr("unveil.distributions.tabulated.NUMBERS", 2 * G * D)  # two x at a time, and one at last
    torch.manual_seed(1)
    output = head(torch.randn(G, *head.needs((D,))))
    found = table(output, x)
    assert found.shape == (G, N)
    one_by_one = torch.stack([output.log_prob(row) for row in x], 1)
    assert torch.allclose(found, one_by_one.to(found.dtype), rtol=1e-5, atol=1e-4)


def test_only_what_multiplies_out_is_a_product():
    torch.manual_seed(0)
    able = [type(head).__name__ for head, _ in HEADS if isinstance(head(torch.randn(G, *head.needs((D,)))), Tabulated)]
    assert able == ["Bernoulli", "Gaussian", "Isotropic", "OptimalSigma"]


@pytest.mark.parametrize("gain", [0.3, 3.0, 30.0])
def test_a_product_of_bernoulli_logits_is_exact_to_a_few_digits_of_its_parts(gain):
    torch.manual_seed(0)
    logits = gain * torch.randn(G, 1, 28, 28)
    x = IndependentBernoulli(logits[:N], 3).sample()
    wide, rows = logits.double().flatten(1), x.double().flatten(1)
    volume = torch.nn.functional.softplus(wide).sum(-1, keepdim=True)
    exact = wide @ rows.T - volume
    parts = (wide.abs() @ rows.T + volume).max()
    with torch.autocast("cpu", torch.bfloat16):
        found = IndependentBernoulli(logits, 3).table(x)
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 4e-7 * parts


@pytest.mark.parametrize("scale", ["each", "one"])
def test_squares_that_cancel_keep_their_digits(scale):
    torch.manual_seed(0)
    loc = 1000 + torch.randn(G, 2, 5)
    log_scale = torch.full(loc.shape, -6.0) + torch.randn(loc.shape) if scale == "each" else torch.tensor(-6.0)
    x = loc[:N] + 0.01 * torch.randn(N, 2, 5)
    wide = DiagonalGaussian(loc.double(), log_scale.double(), 2)
    exact = torch.stack([wide.log_prob(row) for row in x.double()], 1)
    found = DiagonalGaussian(loc, log_scale, 2).table(x)
    # 1e6 / s² before it cancels, of 16 digits
    assert (found - exact).abs().max() < 1e-15 * float((1e6 * 10 / wide.variance).max())

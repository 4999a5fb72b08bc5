"""Figures as a person reads them: digits that mean something, and no certainty that is none."""

import pytest

from unveil.evaluation.figure import Figure, share


@pytest.mark.parametrize(
    ("value", "stderr", "told"),
    [
        (134.22, 0.4567, "134.22 ± 0.46"),
        (134.22, 45.67, "134.22 ± 45.67"),
        (0.0312, 0.0006, "0.03120 ± 0.00060"),
        (0.0312, 0.0996, "0.031 ± 0.100"),
        (1.0, 1e-12, "1.000000 ± 0.000000"),
        (1.0, 0.0, "1.00 ± 0.00"),
        (0.5, float("nan"), "0.50 ± unknown"),
        (0.5, float("inf"), "0.50 ± unknown"),
    ],
)
def test_the_error_says_how_many_decimals_there_are(value, stderr, told):
    assert str(Figure(value, stderr, 1_234)) == f"{told} nats (n = 1,234)"


def test_a_share_of_few_is_not_certain():
    most = share(9, 10)
    assert (most.value, most.n, most.unit) == (0.9, 10, "share")
    assert most.stderr == pytest.approx((10 / 12 * 2 / 12 / 10) ** 0.5)
    assert share(0, 10).value == 0
    assert share(0, 10).stderr > 0.05


def test_minus_a_figure_has_the_same_error():
    assert str(Figure(3.0, 0.5, 7).negative()) == "-3.00 ± 0.50 nats (n = 7)"

"""Tails of the beta and of Student's t distribution, which intervals and tests are made of.

Both are the incomplete beta function, which neither torch nor the standard library has.
"""

from __future__ import annotations

from math import exp, isinf, lgamma, log, log1p, sqrt

STEPS = 100_000
"""Most terms of the continued fraction; it takes about the root of the larger parameter."""
TINY = 1e-300
"""Stands for zero where a term of the fraction would be divided by it."""


def beta_cdf(x: float, a: float, b: float) -> float:
    """P(X <= x) of X ~ Beta(a, b), for a, b > 0.

    Source: Press et al. 2007, Numerical Recipes, section 6.4 (continued fraction by the modified Lentz method).
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):  # there the fraction converges slowly, and that of the other tail fast
        return 1 - beta_cdf(1 - x, b, a)
    front = lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)
    return exp(front) * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 / _apart(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / _apart(1 + term * d), _apart(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _apart(value: float) -> float:
    """Away from zero."""
    return value if abs(value) > TINY else TINY


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x with P(X <= x) = p of X ~ Beta(a, b), by bisection."""
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if beta_cdf(middle, a, b) < p else (low, middle)
    return (low + high) / 2


def student_tails(t: float, degrees: float) -> float:
    """P(|T| >= |t|) of Student's T with so many degrees of freedom."""
    return 0.0 if isinf(t) else beta_cdf(degrees / (degrees + t * t), degrees / 2, 0.5)


def student_quantile(level: float, degrees: float) -> float:
    """The t with P(|T| <= t) = level of Student's T with so many degrees of freedom."""
    share = beta_quantile(level, 0.5, degrees / 2)  # t² / (t² + degrees) is beta-distributed
    return sqrt(degrees * share / (1 - share))

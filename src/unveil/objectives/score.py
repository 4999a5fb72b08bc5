"""The ELBO for posteriors without a reparameterised draw: the gradient comes from log q itself."""

from __future__ import annotations

from torch import Tensor

from unveil.errors import SettingError
from unveil.models import Draw, Model
from unveil.objectives.term import Term
from unveil.words import counted


class ScoreFunction(Term):
    r"""-ELBO, with the score-function gradient under a leave-one-out baseline.

    .. math:: \frac1K \sum_k f_k, \quad f_k = \log q(z_k|x) - \log p(x, z_k)

    .. math:: \nabla = \frac1K \sum_k \Bigl(f_k - \frac{1}{K-1} \sum_{j \ne k} f_j\Bigr) \nabla \log q(z_k|x)
        - \frac1K \sum_k \nabla \log p(x, z_k)

    Value and gradient are unbiased for -ELBO, for any posterior with a density or a mass, relaxed or not: the other draws
    know nothing of z_k, so the baseline costs no bias. It is the whole of the objective; add no Distortion or Rate.

    Args:
        samples: K, at least 2.

    Returns:
        Nats per example, (B,).

    Raises:
        SettingError: K is below 2, which leaves no other draw for a baseline.

    Source: Mnih & Rezende 2016, Variational Inference for Monte Carlo Objectives, arXiv:1602.06725; Kool et al. 2019, Buy
    4 REINFORCE Samples, Get a Baseline for Free!, ICLR workshop.
    """

    gradient = "score"

    def __init__(self, samples: int = 4) -> None:
        super().__init__()
        if samples < 2:
            raise SettingError(f"a leave-one-out baseline cannot come from {counted(samples, 'sample')}; give at least 2")
        self.samples = samples

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        log_q = sum(draw.log_q, start=draw.log_px.new_zeros(()))
        log_joint = draw.log_px + sum(draw.log_p, start=draw.log_px.new_zeros(()))
        # the gradient of log q within f is zero in expectation, and left out
        cost = log_q.detach() - log_joint
        others = (cost.sum(0) - cost) / (len(cost) - 1)
        surrogate = draw.mean((cost - others).detach() * log_q)
        return draw.mean(cost) + (surrogate - surrogate.detach())

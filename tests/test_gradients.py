"""Gradient estimators against each other, in the mean and in variance, where the truth is known in closed form.

Every example of a batch is the same x and has parameters of its own, all equal: the gradient of the summed loss with
respect to them is then one independent draw of the estimator for each example.
"""

import pytest
import torch
from torch.distributions import MultivariateNormal

from unveil.data import Batch, LinearGaussian
from unveil.distributions import DiagonalGaussian, FullGaussian, LowRankGaussian
from unveil.models import VAE
from unveil.objectives import Distortion, Iwae, Rate
from unveil.part import Part
from unveil.parts import Isotropic, Net, Standard

N = 40_000
SIZE, D = 4, 2
TRUTH = LinearGaussian.draw(SIZE, D)
X = TRUTH.sample(1, seed=3)
T = torch.tensor(0.0)


class Free(Part):
    """q(z|x) with the same leaf parameters for each of n examples."""

    def __init__(self, kind, parts, n):
        super().__init__()
        self.kind = kind
        self.leaves = [part.float().expand(n, *part.shape).clone().requires_grad_() for part in parts]

    def forward(self, given=None, context=None, leading=1):
        return self.kind(*self.leaves)


class Shifted(torch.nn.Module):
    """z to W z + b with b a leaf for each example."""

    def __init__(self, n):
        super().__init__()
        self.bias = TRUTH.bias.expand(n, -1).clone().requires_grad_()

    def forward(self, z):
        return (z.unflatten(0, (-1, len(self.bias))) @ TRUTH.weight.T + self.bias).flatten(0, 1)


def exact_parts(width=1.0, shift=0.0):
    """The true posterior as a full Gaussian, widened and moved."""
    exact = TRUTH.posterior(X)
    tril = width * torch.linalg.cholesky(exact.covariance_matrix)[0]
    scale = tril.diagonal()
    return exact.mean[0] + shift, scale.log(), (tril / scale.unsqueeze(-1)).tril(-1)


def parts_of(kind, width=1.4, shift=0.2):
    loc, log_scale, below = exact_parts(width, shift)
    if kind is FullGaussian:
        return loc, log_scale, below
    return (loc, log_scale, torch.tensor([[0.5], [-0.3]])) if kind is LowRankGaussian else (loc, log_scale)


def estimate(objective, kind=DiagonalGaussian, parts=None, n=N, seed=0):
    """(n, P) draws of the gradient for the posterior's parameters and (n, SIZE) for the likelihood's, and the loss."""
    posterior, decoder = Free(kind, parts or parts_of(kind), n), Shifted(n)
    model = VAE(Standard(D), posterior, Net(decoder, Isotropic(scale=TRUTH.scale, learned=False)))
    batch = Batch(X.expand(n, -1), torch.arange(n), n)
    torch.manual_seed(seed)
    draw = model.draw(batch, objective.samples or 1, objective.gradient or "pathwise")
    loss = objective(draw, model, T)
    *for_q, for_p = torch.autograd.grad(loss.sum(), [*posterior.leaves, decoder.bias])
    if kind is FullGaussian:
        for_q[-1] = for_q[-1][:, 1, :1]  # the one coefficient below the diagonal
    return torch.cat([gradient.flatten(1).double() for gradient in for_q], 1), for_p.double(), loss.detach().double()


def z_scores(a, b):
    """Of the difference between means over paired or independent draws."""
    gap = a - b
    return (gap.mean(0) / (gap.std(0) / len(gap) ** 0.5 + 1e-12)).abs()


KINDS = pytest.mark.parametrize("kind", [DiagonalGaussian, FullGaussian, LowRankGaussian])


@KINDS
def test_pathwise_and_sticking_gradients_of_the_elbo_agree_in_the_mean(kind):
    pathwise, for_p, _ = estimate(Iwae(1), kind)
    sticking, same, _ = estimate(Iwae(1, "sticking"), kind)
    closed, _, _ = estimate(Distortion() + Rate(), kind, seed=1)
    summed, _, _ = estimate(Distortion() + Rate("sticking"), kind)
    assert z_scores(pathwise, sticking).max() < 4
    assert z_scores(pathwise, closed).max() < 4
    assert torch.allclose(sticking, summed, atol=1e-3)
    assert torch.allclose(for_p, same, atol=1e-5)
    # far from nothing, or agreement would say little
    assert (pathwise.mean(0).abs() / (pathwise.std(0) / N**0.5)).max() > 20


def test_the_elbo_s_gradient_is_the_one_known_in_closed_form():
    loc, log_scale, below = (part.float().requires_grad_() for part in exact_parts(1.4, 0.2))
    tril = log_scale.exp().diag_embed() @ (torch.eye(D) + below.tril(-1))
    exact = TRUTH.posterior(X)
    target = MultivariateNormal(exact.mean[0].float(), exact.covariance_matrix[0].float())
    gap = torch.distributions.kl_divergence(
        MultivariateNormal(loc, scale_tril=tril), target
    )  # all that -ELBO adds to -log p
    known = torch.autograd.grad(gap, [loc, log_scale, below])
    known = torch.cat([known[0], known[1], known[2][1, :1]]).double()
    for objective in (Distortion() + Rate(), Iwae(1, "sticking"), Iwae(1, "dreg")):
        assert z_scores(estimate(objective, FullGaussian)[0], known).max() < 4


def test_sticking_has_no_variance_at_the_exact_posterior_and_the_pathwise_gradient_has():
    pathwise, _, _ = estimate(Iwae(1), FullGaussian, exact_parts(), n=1_000)
    sticking, _, loss = estimate(Iwae(1, "sticking"), FullGaussian, exact_parts(), n=1_000)
    assert torch.allclose(loss, -TRUTH.log_likelihood(X).expand(1_000), atol=1e-4)
    assert pathwise.std(0).max() > 0.5
    assert sticking.abs().max() < 1e-4
    many, _, _ = estimate(Iwae(8, "dreg"), FullGaussian, exact_parts(), n=1_000)
    assert many.abs().max() < 1e-4


@KINDS
@pytest.mark.parametrize("samples", [1, 2, 8])
def test_the_doubly_reparameterised_gradient_is_the_pathwise_one_in_the_mean(kind, samples):
    pathwise, for_p, value = estimate(Iwae(samples), kind)
    dreg, same, again = estimate(Iwae(samples, "dreg"), kind)
    assert z_scores(pathwise, dreg).max() < 4
    assert (pathwise.mean(0).abs() / (pathwise.std(0) / N**0.5)).max() > 10
    # the likelihood's is not merely equal in the mean: its weights count once, in the same draws
    assert torch.allclose(for_p, same, atol=1e-4)
    assert torch.allclose(value, again, atol=1e-4)


def test_sticking_is_biased_for_several_samples_as_stated():
    """Which also shows that the comparisons of this file can tell estimators apart."""
    pathwise, _, _ = estimate(Iwae(8))
    sticking, _, _ = estimate(Iwae(8, "sticking"))
    assert z_scores(pathwise, sticking).max() > 20


def test_the_signal_of_the_doubly_reparameterised_gradient_does_not_fade_as_k_grows():
    """Signal to noise of the pathwise gradient falls as 1 / sqrt(K), that of 'dreg' rises as sqrt(K)."""
    rows = []
    for samples in (1, 8, 64):
        found = [estimate(Iwae(samples, gradient), n=4_000)[0] for gradient in ("pathwise", "dreg")]
        noise = [gradient.std(0).square().sum() for gradient in found]
        signal = found[1].mean(0).square().sum()
        rows.append([float((signal / one).sqrt()) for one in noise])
        print(f"K = {samples}: signal to noise {rows[-1][0]:.3f} pathwise, {rows[-1][1]:.3f} dreg")
    (first, _, last) = rows
    assert last[1] > 10 * last[0]
    assert last[0] < first[0] / 2
    assert last[1] > 2 * first[1]


def test_score_draws_carry_no_pathwise_gradient_but_their_density_does():
    posterior = Free(DiagonalGaussian, parts_of(DiagonalGaussian), 5)
    model = VAE(Standard(D), posterior, Net(Shifted(5), Isotropic(scale=TRUTH.scale, learned=False)))
    draw = model.draw(Batch(X.expand(5, -1), torch.arange(5), 5), 3, "score")
    assert not draw.z[0].requires_grad
    assert not draw.log_p[0].requires_grad
    assert draw.log_q[0].requires_grad
    likelihood_alone = torch.autograd.grad(draw.log_px.sum(), posterior.leaves, allow_unused=True, retain_graph=True)
    assert likelihood_alone == (None, None)
    # the divergence is that of the draws: the closed form would be an expectation that hides the score's half
    assert torch.equal(draw.kl[0], draw.log_q[0] - draw.log_p[0])


@KINDS
def test_the_score_function_and_the_path_agree_in_the_mean(kind):
    n = 4 * N
    posterior = Free(kind, parts_of(kind), n)
    model = VAE(Standard(D), posterior, Net(Shifted(n), Isotropic(scale=TRUTH.scale, learned=False)))
    torch.manual_seed(7)
    draw = model.draw(Batch(X.expand(n, -1), torch.arange(n), n), 1, "score")
    baseline = -float(TRUTH.log_likelihood(X))
    cost = (-draw.log_w).detach() - baseline
    score = torch.autograd.grad((cost * draw.log_q[0]).sum(), posterior.leaves)
    if kind is FullGaussian:
        score = (*score[:-1], score[-1][:, 1, :1])
    score = torch.cat([gradient.flatten(1).double() for gradient in score], 1)
    pathwise, _, _ = estimate(Iwae(1), kind, n=n)
    assert z_scores(score, pathwise).max() < 4
    assert (score.mean(0).abs() / (score.std(0) / n**0.5)).max() > 10

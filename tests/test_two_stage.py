"""A second VAE as the prior of the first, where its density is known in closed form."""

import torch
from torch.distributions import MultivariateNormal

from unveil.models import VAE
from unveil.networks import Mlp
from unveil.parts import Gaussian, Isotropic, Net, Standard, TwoStage


def linear_second_stage():
    """p(u) = N(0, I), p(z|u) = N(Wu + b, s^2 I) with a posterior r(u|z) that is a little too wide."""
    torch.manual_seed(1)
    weight, bias, scale = torch.randn(3, 2), torch.randn(3), 0.7
    precision = torch.eye(2) + weight.T @ weight / scale**2
    encode = Mlp((3,), (), (4,))
    with torch.no_grad():
        gain = torch.linalg.solve(precision, weight.T) / scale**2
        encode.last.weight.copy_(torch.cat([gain, torch.zeros(2, 3)]))
        spread = torch.linalg.inv(precision).diagonal().log() + 0.5
        encode.last.bias.copy_(torch.cat([-gain @ bias, 12 * torch.atanh(spread / 12)]))
    decode = Mlp((2,), (), (3,))
    with torch.no_grad():
        decode.last.weight.copy_(weight)
        decode.last.bias.copy_(bias)
    model = VAE(Standard(2), Net(encode, Gaussian(2)), Net(decode, Isotropic(1, scale, learned=False)))
    exact = MultivariateNormal(bias, weight @ weight.T + scale**2 * torch.eye(3))
    return TwoStage(model), exact


@torch.no_grad()
def test_two_stages_bound_the_density_and_their_exponential_is_unbiased_for_it():
    prior, exact = linear_second_stage()
    n = 100_000
    for z in exact.sample((3,)):
        estimate = prior().log_prob(z.expand(n, 3)).double()
        ratio = (estimate - exact.log_prob(z)).exp()
        assert abs(ratio.mean() - 1) < 4 * ratio.std() / n**0.5
        assert estimate.mean() + 4 * estimate.std() / n**0.5 < exact.log_prob(z)
    samples = prior().sample((20_000,))
    assert prior().event_shape == (3,)
    error = samples.std(0) / 20_000**0.5
    assert ((samples.mean(0) - exact.mean).abs() < 4 * error).all()
    assert ((samples.var(0) / exact.variance - 1).abs() < 4 * (2 / 20_000) ** 0.5).all()

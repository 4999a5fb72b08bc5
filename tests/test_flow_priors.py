"""Priors that are flows: the change of variables, where it starts, and what it learns."""

import pytest
import torch
from torch.distributions import Normal

from unveil.parts import Autoregressive, Coupling, Spline


@pytest.mark.parametrize("kind", [Coupling, Autoregressive, Spline])
def test_a_flow_s_density_is_the_change_of_variables_and_starts_at_the_encodings(kind):
    torch.manual_seed(0)
    prior = kind(3, 2, (8,))
    z = torch.randn(2000, 3) * torch.tensor([0.2, 1.0, 9.0]) + torch.tensor([5.0, 0.0, -2.0])
    prior.start_at(z)
    p = prior()
    assert p.batch_shape == ()
    assert p.event_shape == (3,)

    def noise(x):
        return p.image(x)[0]

    for one in z[:3]:
        jacobian = torch.autograd.functional.jacobian(noise, one)
        exact = Normal(0, 1).log_prob(noise(one)).sum() + torch.linalg.slogdet(jacobian).logabsdet
        assert torch.allclose(p.log_prob(one), exact, atol=1e-4)
    standard = (z - prior.loc) / prior.log_scale.exp()
    assert standard.mean(0).abs().max() < 1e-3
    assert (standard.std(0) - 1).abs().max() < 1e-2


@pytest.mark.parametrize("kind", [Coupling, Autoregressive, Spline])
def test_every_layer_of_a_flow_learns_and_every_dimension_is_bent(kind):
    torch.manual_seed(0)
    prior = kind(3, 2, (8,))
    prior().log_prob(torch.randn(50, 3)).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in prior.parameters() if parameter.dim() > 1)


@pytest.mark.parametrize("kind", [Coupling, Autoregressive, Spline])
def test_a_flow_s_log_determinant_is_in_full_precision_where_its_networks_are_not(kind):
    torch.manual_seed(0)
    flow, z = kind(3, 2, (8,))(), torch.randn(5, 3)
    with torch.autocast("cpu", torch.bfloat16):
        noise, determinant = flow.image(z)
    assert noise.dtype == determinant.dtype == torch.float32


@pytest.mark.parametrize("kind", [Coupling, Autoregressive, Spline])
def test_what_has_an_image_is_found_again(kind):
    torch.manual_seed(0)
    prior = kind(3, 2, (8,))
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    flow, z = prior(), torch.randn(50, 3)
    found = flow.image(z)[0]
    for each in reversed(flow.maps):
        found = each.inverse(found)
    assert torch.allclose(found, z, atol=1e-4)

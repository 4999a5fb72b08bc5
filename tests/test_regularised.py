"""The prices of regularised autoencoders against closed forms: norms of z and of the decoder, and its slopes."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch
from helpers.objectives import T, rough
from torch import nn

from unveil.data import Batch
from unveil.errors import SettingError
from unveil.models import VAE
from unveil.objectives import DecoderNorm, GradientPenalty, Norm, Rate
from unveil.parts import Isotropic, Net, Point, Standard


def test_under_a_point_the_rate_raises_and_names_what_to_use():
    model = VAE(Standard(2), Net(nn.Linear(3, 2), Point(2)), Net(nn.Linear(2, 3), Isotropic()))
    draw = model.draw(Batch(torch.randn(4, 3), torch.arange(4), 4), 2)
    with pytest.raises(SettingError, match=r"Norm\(\) or Mmd\(\)"):
        Rate()(draw, model, T)
    assert torch.allclose(Norm()(draw, model, T), 0.5 * model.posterior(draw.batch.x).mean.square().sum(-1))


def test_the_norm_is_the_prior_s_part_of_the_rate():
    model, draw = rough(samples=3)
    assert torch.allclose(Norm()(draw, model, T), -draw.mean(draw.log_p[0]) - log(2 * np.pi), atol=1e-5)


def test_the_gradient_penalty_is_the_squared_norm_of_the_jacobian_in_the_mean():
    model, draw = rough(n=1)
    jacobian = torch.autograd.functional.jacobian(lambda z: model.decode(z[None, None]).mean[0, 0], draw.z[0][0, 0])
    many = replace(draw, z=(draw.z[0].expand(1, 20_000, 2),), log_px=torch.zeros(1, 20_000))
    found = GradientPenalty()(many, model, T).detach()
    assert found.std() > 0
    assert abs(found.mean() - jacobian.square().sum()) < 4 * found.std() / 20_000**0.5


def test_the_gradient_penalty_of_a_linear_decoder_pulls_at_its_weights():
    torch.manual_seed(0)
    model = VAE(Standard(2), Net(nn.Linear(3, 2), Point(2)), Net(nn.Linear(2, 3), Isotropic()))
    n = 20_000
    draw = model.draw(Batch(torch.randn(n, 3), torch.arange(n), n))
    weight = model.likelihood.network.weight
    (found,) = torch.autograd.grad(GradientPenalty()(draw, model, T).mean(), weight)
    assert torch.allclose(found, 2 * weight, atol=0.05 * float(weight.detach().abs().max()))  # signs average to this


def test_without_gradients_the_penalty_is_the_same_number_and_keeps_no_graph():
    model, draw = rough()
    torch.manual_seed(5)
    wanted = GradientPenalty()(draw, model, T)
    torch.manual_seed(5)
    with torch.no_grad():
        rested = GradientPenalty()(replace(draw, z=(draw.z[0].detach(),)), model, T)
    assert torch.equal(rested, wanted)
    assert wanted.requires_grad
    assert not rested.requires_grad


def test_the_decoder_s_norm_reads_its_matrices_alone():
    model, draw = rough(n=2)
    loss = DecoderNorm()(draw, model, T)
    loss.mean().backward()
    for name, parameter in model.named_parameters():
        if name.startswith("likelihood.") and name.endswith("weight"):
            assert torch.allclose(parameter.grad, parameter)
        else:
            assert parameter.grad is None
    matrices = [p for name, p in model.likelihood.named_parameters() if name.endswith("weight")]
    assert loss.tolist() == pytest.approx([0.5 * float(sum((m.detach() ** 2).sum() for m in matrices))] * 2)

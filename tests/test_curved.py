"""Models in curved space: prior and posterior are of one space, and what is shown of it lies in it."""

import pytest
import torch

from unveil.data import from_arrays
from unveil.errors import SettingError
from unveil.generation import plane
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.parts import Bernoulli, Gaussian, Net, PoincareNormal, Standard, UniformSphere, VonMisesFisher, WrappedNormal


def test_curved_models_are_asked_for_what_they_can_be():
    for wrong in (
        lambda: VonMisesFisher(1),
        lambda: UniformSphere(1),
        lambda: WrappedNormal(0),
        lambda: WrappedNormal(2, 0.0),
    ):
        with pytest.raises(SettingError, match="give"):
            wrong()
    with pytest.raises(SettingError, match="less curvature"):
        PoincareNormal(2, 5.0, 1.0)
    with pytest.raises(SettingError, match="takes 4 parameters; the network gave 6"):
        VonMisesFisher(3)(torch.zeros(2, 6))
    with pytest.raises(SettingError, match="takes 6 parameters; the network gave 4"):
        WrappedNormal(3)(torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("prior", "head"),
    [
        (Standard(3), VonMisesFisher(3)),
        (Standard(3), WrappedNormal(3)),
        (UniformSphere(3), Gaussian(3)),
        (PoincareNormal(3), Gaussian(3)),
        (PoincareNormal(3), VonMisesFisher(3)),
        (UniformSphere(3), WrappedNormal(3)),
        (PoincareNormal(3, curvature=0.5), WrappedNormal(3)),
    ],
)
def test_a_prior_and_a_posterior_of_different_spaces_have_no_rate(prior, head):
    """Their densities are with respect to different measures: the difference of their logarithms would be no rate."""
    torch.manual_seed(11)
    model = VAE(prior, Net(Mlp((1, 2, 2), (5,), head.needs((3,))), head), Net(Mlp((3,), (5,), (1, 2, 2)), Bernoulli(3)))
    batch = next(from_arrays(torch.rand(20, 1, 2, 2).round(), name="pixels").train.batches(4, 0))
    for gradient in ("pathwise", "sticking", "dreg", "score"):
        with pytest.raises(SettingError, match="there is no rate"):
            model.draw(batch, 2, gradient)


@pytest.mark.parametrize(("prior", "head"), [(UniformSphere(3), VonMisesFisher(3)), (PoincareNormal(3), WrappedNormal(3))])
def test_the_plane_that_is_shown_stays_in_the_curved_space(prior, head):
    """A flat plane through a sphere or a ball leaves it: what the decoder would be shown there is no z."""
    torch.manual_seed(12)
    model = VAE(prior, Net(Mlp((1, 2, 2), (5,), head.needs((3,))), head), Net(Mlp((3,), (5,), (1, 2, 2)), Bernoulli(3)))
    with torch.no_grad():
        means = model.encode(torch.rand(50, 1, 2, 2)).mean
        shown = plane(model, means)
        flat = shown.origin + (shown.prior[[0, -1]] @ shown.axes)
    support = model.prior().support
    grid = shown.grid(9)
    assert support.check(grid).all()
    assert torch.allclose(support.project(grid), grid, atol=1e-6)
    if isinstance(prior, UniformSphere):
        assert not support.check(flat).all()  # else this test could not fail

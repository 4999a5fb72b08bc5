"""Structural similarity against a direct computation, and the term made of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.objectives import T, rough
from scipy.ndimage import correlate1d

from unveil.data import Batch
from unveil.errors import SettingError
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import StructuralSimilarity
from unveil.objectives.similarity import WEIGHTS, similarity
from unveil.parts import Bernoulli, Gaussian, Net, Standard


def by_hand(x, y, window=11):
    """Multi-scale structural similarity of two images (H, W) in float64, by correlations over places inside the image."""
    side = min(x.shape)
    while window > side:
        window -= 2
    bell = np.exp(-0.5 * ((np.arange(window) - window // 2) / 1.5) ** 2)
    bell /= bell.sum()

    def blur(image):
        full = correlate1d(correlate1d(image, bell, 0, mode="constant"), bell, 1, mode="constant")
        edge = window // 2
        return full[edge : full.shape[0] - edge, edge : full.shape[1] - edge]

    lights, structures = [], []
    for _ in range(5):
        if min(x.shape) < window:
            break
        mx, my = blur(x), blur(y)
        vx, vy, vxy = blur(x**2) - mx**2, blur(y**2) - my**2, blur(x * y) - mx * my
        lights.append(((2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4)).mean())
        structures.append(((2 * vxy + 9e-4) / (vx + vy + 9e-4)).mean())
        h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
        x, y = (i[:h:2, :w:2] / 4 + i[1:h:2, :w:2] / 4 + i[:h:2, 1:w:2] / 4 + i[1:h:2, 1:w:2] / 4 for i in (x, y))
    n = len(lights)
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333][:n])
    weights /= weights.sum()
    return n, lights[-1] ** weights[-1] * np.prod(np.array(structures) ** weights)


SHAPES = [((8, 8), 11, 1), ((6, 5), 11, 1), ((28, 28), 11, 2), ((28, 28), 7, 3), ((45, 67), 11, 3), ((176, 180), 11, 5)]


@pytest.mark.parametrize(("shape", "window", "scales"), SHAPES)
def test_structural_similarity_meets_a_direct_computation(shape, window, scales):
    source = np.random.default_rng(0)
    x = source.random((2, 3, *shape))
    y = np.clip(x + 0.3 * source.standard_normal(x.shape), 0, 1)
    found = similarity(torch.tensor(x), torch.tensor(y), window)
    exact = [[by_hand(x[n, c], y[n, c], window) for c in range(3)] for n in range(2)]
    assert {n for row in exact for n, _ in row} == {scales}
    assert found.tolist() == pytest.approx([np.mean([value for _, value in row]) for row in exact], abs=1e-9)
    assert (found < 0.98).all()
    assert similarity(torch.tensor(x), torch.tensor(x), window).tolist() == pytest.approx([1.0, 1.0])
    assert sum(WEIGHTS) == pytest.approx(1, abs=2e-4)


def test_the_term_compares_x_with_the_mean_of_every_draw():
    torch.manual_seed(0)
    shape = (1, 12, 12)
    model = VAE(Standard(2), Net(Mlp(shape, (4,), (4,)), Gaussian(2)), Net(Mlp((2,), (4,), shape), Bernoulli()))
    x = torch.rand(3, *shape)
    draw = model.draw(Batch(x, torch.arange(3), 3), 2)
    alike = torch.stack([similarity(x, mean) for mean in draw.output.mean])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = StructuralSimilarity()(draw, model, T)
    assert torch.allclose(found, 1 - alike.mean(0), atol=1e-6)
    assert ((found > 0) & (found <= 1)).all()
    same = replace(draw, batch=replace(draw.batch, x=draw.output.mean[0]))
    assert (
        StructuralSimilarity()(replace(same, log_px=same.log_px[:1], output=model.decode(draw.z[0][:1])), model, T).max()
        < 1e-5
    )


def test_images_that_contradict_each_other_or_are_flat_have_finite_gradients():
    x = torch.zeros(1, 1, 16, 16)
    x[..., ::2] = 1
    for image in (1 - x, torch.zeros_like(x), torch.ones_like(x)):
        y = image.clone().requires_grad_()
        alike = similarity(x, y)
        (gradient,) = torch.autograd.grad(alike.sum(), y)
        assert alike.isfinite().all()
        assert gradient.isfinite().all()
        assert 0 <= alike.detach() < 0.2


def test_what_is_no_image_is_not_compared():
    model, draw = rough()
    with pytest.raises(SettingError, match="no image"):
        StructuralSimilarity()(draw, model, T)

"""Mistakes that stand in the code of widely used libraries of this field, each with a test that fails on it.

Those that concern a single kind of part stand beside it: the weights of the total correlation in test_aggregate.py, the
commitment cost in test_codes.py, pseudo-inputs in test_mixtures.py and fitted priors in test_refit.py, encoder and decoder
bounds in test_bounds.py, resuming in test_resuming.py and non-finite steps in test_diverging.py.
"""

from dataclasses import replace
from math import log

import pytest
import torch
from torch import nn
from torch.backends import cudnn

import unveil
from unveil import generation
from unveil.data import Batch
from unveil.evaluation import evaluate
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Iwae, Rate
from unveil.parts import Bernoulli, Gaussian, Net, Standard
from unveil.recipes import recipe
from unveil.training.config import Training
from unveil.training.loop import Trainer


@pytest.fixture
def model(tiny):
    torch.manual_seed(0)
    return recipe("vae").given(latent=2, hidden=(16,)).compose(tiny)[0]


def test_an_estimate_uses_the_samples_asked_for_and_has_the_sign_of_a_cost(model, tiny):
    with torch.no_grad():  # a posterior that is far too wide, so that K matters
        model.posterior.network.network.last.bias[2:] = 4.0
    few, many = (evaluate(model, tiny.test, samples=k) for k in (1, 200))
    assert few.nll.value > many.nll.value + 4 * many.nll.stderr / 30**0.5
    assert many.nll.value > 0
    assert many.nll.value < many.neg_elbo.value


def test_what_is_recorded_of_an_importance_weighted_model_is_the_bound(model, tiny):
    trainer = Trainer(model, Iwae(8, "dreg"), tiny, Training(epochs=1, batch_size=60), "float32")
    batch, t = trainer.feed.batch(0), torch.tensor(0.0)
    torch.manual_seed(0)
    losses, figures, draw = trainer.step(batch, t)
    bound = -(draw.log_w.logsumexp(0) - log(8)).mean()
    assert torch.allclose(losses["model"], bound, atol=1e-4)
    assert torch.allclose(figures["loss"], bound, atol=1e-4)


def test_the_distortion_is_a_sum_over_pixels_so_that_beta_means_the_same_for_every_size():
    torch.manual_seed(0)
    logits, x = torch.randn(3, 4, 1, 5, 5), torch.rand(4, 1, 5, 5).round()
    once = Bernoulli(3)(logits).log_prob(x)
    twice = Bernoulli(3)(torch.cat([logits, logits], -1)).log_prob(torch.cat([x, x], -1))
    assert torch.allclose(twice, 2 * once, atol=1e-4)


def test_encoding_and_reconstructing_draw_no_noise(model, tiny):
    model.train()  # even where somebody forgot the evaluation mode
    first, again = (generation.encode(model, tiny.test) for _ in range(2))
    assert torch.equal(first.mean, again.mean)
    assert torch.equal(generation.reconstruct(model, tiny.test), generation.reconstruct(model, tiny.test))


def test_a_short_last_batch_counts_by_its_rows(model, tiny, monkeypatch):
    """30 rows in batches of 7: the mean over rows, which the mean of five batch means is not."""
    monkeypatch.setattr("unveil.training.loop.VALIDATION_BATCH", 7)

    class Deterministic(nn.Module):
        """Scales so small that no noise is left."""

        def forward(self, x):
            bright = x.flatten(1).sum(1, keepdim=True)
            return torch.cat([bright, bright, torch.full_like(bright, -1e4), torch.full_like(bright, -1e4)], 1)

    model.posterior = Net(Deterministic(), Gaussian(2))
    trainer = Trainer(model, Distortion() + Rate(), tiny, Training(epochs=1), "float32")
    found = trainer._validate()["rate"]
    x = tiny.validation.fixed(0)
    rows = model.draw(Batch(x, torch.arange(30), 30)).rate
    assert found == pytest.approx(float(rows.mean()), rel=1e-5)
    assert float(torch.stack([part.mean() for part in rows.split(7)]).mean()) != pytest.approx(found, rel=1e-5)


def test_batch_norm_is_at_rest_in_evaluation(tiny):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(30), nn.Linear(30, 4)).train()
    model = VAE(Standard(2), Net(network, Gaussian(2)), Net(Mlp((2,), (8,), (1, 6, 5)), Bernoulli(3)))
    part = tiny.test.subset(torch.arange(1))
    alone, among = generation.encode(model, part).mean, generation.encode(model, tiny.test).mean[:1]
    assert torch.allclose(alone, among, atol=1e-6)
    assert network[1].num_batches_tracked == 0


def test_gray_is_drawn_and_not_thresholded(tiny):
    gray = replace(tiny.test, values=torch.full((30, 1, 6, 5), 153, dtype=torch.uint8))  # 0.6 of white
    x = gray.fixed(0)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert abs(float(x.mean()) - 0.6) < 4 * (0.6 * 0.4 / x.numel()) ** 0.5


def test_each_epoch_has_an_order_of_its_own(tiny):
    feed = unveil.data.Feed(tiny.train, 40, 0, torch.device("cpu"))
    first, second = (torch.cat([feed.positions(e * 6 + step) for step in range(6)]) for e in range(2))
    assert not torch.equal(first, second)
    assert len(first.unique()) == 240


def test_convolutions_in_evaluation_are_of_float32_on_a_gpu_too(model, tiny, monkeypatch):
    """There PyTorch rounds what they multiply to TF32, of 11 bits, unless it is told not to."""
    seen = []
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    model.likelihood.register_forward_pre_hook(lambda *_: seen.append(cudnn.allow_tf32))
    evaluate(model, tiny.test, samples=2)
    assert set(seen) == {False}
    assert cudnn.allow_tf32

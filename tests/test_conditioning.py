"""Models that are given something: labels in prior, posterior and likelihood alike."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import unveil
from unveil import generation
from unveil.data import Batch
from unveil.errors import DataError, SettingError
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Rate
from unveil.parts import Bernoulli, Conditioned, Gaussian, Net
from unveil.recipes import recipe

SHORT = {"epochs": 12, "batch_size": 30, "learning_rate": 1e-2, "checkpoint_every": 0, "precision": "float32"}
SMALL = recipe("cvae").given(latent=2, hidden=(16,))


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    return unveil.train(tiny, SMALL, out=tmp_path_factory.mktemp("cvae") / "run", **SHORT)


def test_the_label_tells_what_is_drawn(run, tiny):
    """Images of class 1 have a bright upper half; the classes of tiny are that far apart."""
    bright = [float(run.model.sample(200, run.context(label, 200), seed=0)[:, :, :3].mean()) for label in (0, 1)]
    truth = [float(tiny.train.values[tiny.train.labels == label][:, :, :3].float().mean() / 255) for label in (0, 1)]
    assert bright == pytest.approx(truth, abs=0.1)
    assert bright[1] - bright[0] > 0.3


def test_a_conditional_run_is_opened_evaluated_and_encoded_with_its_labels(run, tiny):
    again = unveil.open(run.path)
    given = again.suited(tiny)
    assert given.test.context.shape == (30, 2)
    assert again.evaluate(tiny, samples=20).nll == run.evaluate(samples=20).nll
    assert generation.encode(again.model, given.test).mean.shape == (30, 2)
    with pytest.raises(DataError, match="no labels"):
        again.suited(replace(tiny, train=replace(tiny.train, labels=None)))
    with pytest.raises(SettingError, match="no class 2"):
        again.context(2, 4)
    assert again.context(None, 3).tolist() == [[1, 0], [0, 1], [1, 0]]


def test_a_model_says_that_it_needs_a_context_or_takes_none(run, tiny):
    with pytest.raises(SettingError, match="context"):
        run.model.sample(2)
    plain, _ = recipe("vae").given(latent=2).compose(tiny)
    with pytest.raises(SettingError, match="context"):
        plain.sample(2, torch.eye(2))


def test_a_conditioned_prior_is_drawn_from_given_the_context(tiny):
    torch.manual_seed(0)
    shape = (1, 6, 5)
    model = VAE(
        Conditioned(Mlp((2,), (), (6,)), Gaussian(3)),
        Net(Mlp(shape, (8,), (6,), context=2), Gaussian(3)),
        Net(Mlp((3,), (8,), shape, context=2), Bernoulli(3)),
    )
    data = tiny.given_labels()
    batch = next(data.train.batches(7, 0))
    draw = model.draw(batch, 5)
    assert draw.prior.batch_shape == (7,)
    assert draw.kl[0].shape == (5, 7)
    by_hand = model.prior(None, batch.context).log_prob(draw.z[0])
    assert torch.equal(draw.log_p[0], by_hand)
    whole = unveil.train(data, model=model, objective=Distortion() + Rate(), out=None, **{**SHORT, "epochs": 1})
    assert whole.model.sample(600, whole.context(1, 600), seed=0).shape == (600, *shape)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_k_draws_of_a_conditional_model_see_the_context_of_their_example(tiny):
    torch.manual_seed(0)
    model, _ = SMALL.compose(tiny.given_labels())
    z, x = torch.randn(4, 2, 2), torch.rand(2, 1, 6, 5)
    context = torch.eye(2)
    both = model.log_joint(Batch(x, torch.arange(2), 2, context=context), z)
    for row in range(2):
        alone = Batch(x[[row]], torch.arange(1), 2, context=context[[row]])
        assert torch.allclose(both[:, [row]], model.log_joint(alone, z[:, [row]]), atol=1e-5)


def test_labels_for_a_few_rows_are_the_same_rows_in_every_run(tiny):
    once, again = (tiny.given_labels(known=20).train.labelled for _ in range(2))
    assert torch.equal(once, again)
    assert int(once.sum()) == 20
    assert tiny.given_labels().train.labelled is None


def test_a_semi_supervised_model_is_measured_without_labels(tiny):
    """With them its figures would be those of x and y together, larger by about the logarithm of the classes."""
    few = tiny.given_labels(known=20)
    assert not few.validation.labelled.any()
    assert not few.test.labelled.any()


def test_the_terminal_samples_a_label(run, tmp_path):
    command = [sys.executable, "-m", "unveil", "sample", str(run.path), "-n", "5", "--out", "x.npy", "--label"]
    assert subprocess.run([*command, "1"], cwd=tmp_path).returncode == 0
    wrong = subprocess.run([*command, "7"], cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "no class 7" in wrong.stderr


def test_a_semi_supervised_run_that_is_opened_is_measured_without_labels(tiny, tmp_path):
    kept = unveil.train(tiny, recipe("m2").given(known=20, hidden=(8,)), out=tmp_path / "run", **SHORT)
    there = kept.evaluate(samples=5)
    again = unveil.open(tmp_path / "run")
    assert again.manifest["data"]["known"] == 20
    assert int(again.suited(tiny).train.labelled.sum()) == 20
    here = again.evaluate(tiny, samples=5)
    assert here.nll == there.nll
    assert not here.nats.told
    fitted = again.evaluate(tiny, samples=5, split="train")
    assert not fitted.nats.told  # the labels that it was trained with are not looked at
    unlabelled = replace(tiny, **{name: replace(tiny.split(name), labels=None) for name in tiny.splits})
    assert again.suited(unlabelled) is unlabelled
    assert again.evaluate(unlabelled, samples=5).nll == here.nll


def test_nats_of_a_model_that_is_told_the_label_say_so(run, tiny):
    found = run.evaluate(tiny, samples=5).nats
    assert found.told
    assert "-log p(x|y), K = 1" in dict(found.table())
    assert "told the label" in found.advice()[0]

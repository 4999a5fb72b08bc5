"""A prior that is fitted afterwards: it lowers the rate and leaves all else as it was."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from cases.basics import E, small

import unveil
from unveil.cli import main
from unveil.errors import DataError, SettingError
from unveil.evaluation import bound
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, NegativeLogPrior, Rate
from unveil.parts import Gaussian, Net, Point, Standard, UniformCodes, Vamp
from unveil.refit import PRIORS, refit_prior
from unveil.training.average import state_of
from unveil.training.config import Training
from unveil.training.loop import Trainer


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("refit") / "run"
    return unveil.train(
        tiny, model=small(), objective=Distortion() + 0.3 * Rate(), out=out, epochs=20, learning_rate=1e-2, batch_size=20
    )


def rate(model, data):
    batches = list(data.train.batches(500, 0))
    return float(bound(model, batches, 0, torch.device("cpu"))["rate"].mean())


def state(model):
    """Posterior and likelihood, weight by weight."""
    both = state_of(torch.nn.ModuleDict({"posterior": model.posterior, "likelihood": model.likelihood}))
    return {name: tensor.clone() for name, tensor in both.items()}


@pytest.mark.parametrize("name", sorted(set(PRIORS) - {"autoregressive"}))
def test_a_refitted_prior_lowers_the_rate_and_leaves_all_else_as_it_was(name, trained, tiny, tmp_path):
    before = state(trained.model)
    epochs = {"two-stage": 25}.get(name, 8)
    run = refit_prior(trained, name, out=tmp_path / "new", epochs=epochs, batch_size=20, learning_rate=1e-2)
    for model in (trained.model, run.model):
        assert len(before) == 8
        assert all(torch.equal(value, before[key]) for key, value in state(model).items())
    # 0.3 of the rate was paid for: the aggregate posterior is far from the standard prior
    assert rate(run.model, tiny) < rate(trained.model, tiny) - 0.1
    opened = unveil.open(run.path)
    assert torch.equal(opened.model.sample(8, seed=3), run.model.sample(8, seed=3))
    found = opened.evaluate(tiny, samples=5, images=20)
    assert found.rate is not None
    assert not any(part._forward_pre_hooks for part in run.model.modules())


@pytest.mark.parametrize("recipe", ["vq-vae", "residual-vq-vae", "fsq-vae"])
def test_codes_get_a_prior_that_writes_them_and_stay_where_they_are(recipe, digits, tmp_path):
    chosen = unveil.recipes.recipe(recipe).given(latent=4, hidden=(16,))
    run = unveil.train(digits, recipe=chosen, out=tmp_path / "codes", epochs=2)
    flat = replace(run, model=VAE(UniformCodes(run.model.prior.alphabet, 4), run.model.posterior, run.model.likelihood))
    before = {name: value.clone() for name, value in state_of(run.model.posterior).items()}
    refitted = refit_prior(flat, "autoregressive", out=tmp_path / "new", epochs=3)
    after = state_of(refitted.model.posterior)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert rate(refitted.model, digits) < rate(flat.model, digits) - 1
    assert torch.equal(unveil.open(refitted.path).model.sample(4, seed=1), refitted.model.sample(4, seed=1))


def test_only_codes_have_a_prior_that_writes_codes(trained, tmp_path):
    with pytest.raises(SettingError, match="take 'maf'"):
        refit_prior(trained, "autoregressive", epochs=1, out=tmp_path / "no")


def test_without_a_path_of_its_own_it_stands_beside_the_run(trained):
    run = refit_prior(trained, "mixture", epochs=1)
    assert run.path == trained.path.with_name("run-mixture")
    assert refit_prior(trained, "mixture", epochs=1).path == trained.path.with_name("run-mixture-2")


def test_an_autoencoder_gets_samples_from_a_prior_and_no_nats(tiny, tmp_path):
    torch.manual_seed(0)
    model = small(posterior=Net(Mlp(E, (8,), (3,)), Point(3)))
    run = unveil.train(tiny, model=model, objective=Distortion(), out=tmp_path / "ae", epochs=5, batch_size=20)
    refitted = refit_prior(run, "coupling", epochs=8, batch_size=20, learning_rate=1e-2)
    assert isinstance(refitted.objective, NegativeLogPrior)
    batch = next(tiny.train.batches(300, 0))
    assert nll(refitted.model, batch) < nll(run.model, batch) - 0.1
    found = refitted.evaluate(tiny, samples=2, images=20)
    assert found.rate is found.nll is found.neg_elbo is None
    with pytest.raises(SettingError, match="no density under a Delta"):
        refit_prior(run, "vamp", epochs=1, out=tmp_path / "no")
    assert not (tmp_path / "no").exists()


def nll(model, batch):
    with torch.no_grad():
        return float(NegativeLogPrior()(model.draw(batch), model, torch.tensor(0.0)).mean())


@pytest.mark.parametrize("name", ["mixture", "coupling"])
def test_a_prior_for_posteriors_that_collapsed_begins_as_wide_as_they_are(name, tiny, tmp_path):
    torch.manual_seed(0)
    model = small()
    with torch.no_grad():
        for weight in model.posterior.parameters():
            weight.zero_()  # N(0, I) for every x
    run = unveil.run.Run(model, Distortion() + Rate(), {"data": {}}, tmp_path / "x", tiny)
    fresh, _ = unveil.refit._prepared(run.model, name, tiny, 0)
    assert rate(fresh, tiny) < 5  # around the means alone it would be in the ten thousands


def test_what_rests_is_in_evaluation_mode_while_the_prior_learns(tiny, tmp_path):
    """A foreign layer with running means: they would move in training mode, and the posterior with them."""
    torch.manual_seed(0)
    encode = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(30), torch.nn.Linear(30, 6))
    run = unveil.run.Run(
        small(posterior=Net(encode, Gaussian(3))), Distortion() + Rate(), {"data": {}}, tmp_path / "x", tiny
    )
    before = {key: value.clone() for key, value in state_of(run.model).items()}
    model, objective = unveil.refit._prepared(run.model, "mixture", tiny, 0)
    with unveil.refit._at_rest([model.posterior, model.likelihood]):
        trainer = Trainer(model, objective, tiny, Training(batch_size=50), "float32")
        trainer.step.train()
        for _ in range(3):
            trainer.advance()
    assert model.prior.training
    after = state_of(model)
    assert all(torch.equal(after[key], value) for key, value in before.items() if key.startswith("posterior."))


def test_a_prior_of_one_s_own_may_share_the_posterior(trained, tmp_path):
    posterior = trained.model.posterior
    run = refit_prior(trained, Vamp(posterior, 7, E), out=tmp_path / "own", epochs=2)
    assert run.model.prior.posterior is run.model.posterior
    assert run.model.posterior is not posterior
    assert unveil.open(run.path).model.prior.count == 7


def test_priors_that_cannot_be_are_refused(trained, tmp_path):
    with pytest.raises(SettingError, match="did you mean 'mixture'"):
        refit_prior(trained, "mixtur")
    with pytest.raises(SettingError, match="cannot be that of z"):
        refit_prior(trained, Standard(5), out=tmp_path / "a")
    with pytest.raises(DataError, match="in memory"):
        refit_prior(unveil.open(trained.path), "mixture")
    ball = replace(trained, model=small(prior=Somewhere()))
    with pytest.raises(SettingError, match="need not be real"):
        refit_prior(ball, "mixture", out=tmp_path / "b")


class Somewhere(Standard):
    """A prior over the simplex, say."""

    def __init__(self):
        super().__init__(3)

    def forward(self, given=None, context=None, leading=1):
        return torch.distributions.Dirichlet(torch.ones(3))


# the command


def test_the_command_refits_and_its_run_is_like_any_other(digits, tmp_path, capsys):
    path = str(unveil.train(digits, "vae", latent=3, epochs=1, out=tmp_path / "run").path)
    assert main(["refit-prior", path, "--prior", "mixtre"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("unveil: there is no prior 'mixtre'; did you mean 'mixture'?")
    assert len(said.splitlines()) == 1
    command = [sys.executable, "-m", "unveil", "refit-prior", "run", "--prior", "mixture", "--epochs", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "run-mixture" in done.stdout
    assert (tmp_path / "run-mixture" / "pictures" / "samples.png").is_file()
    assert main(["sample", f"{path}-mixture", "-n", "4", "--out", str(tmp_path / "x.npy")]) == 0
    assert main(["evaluate", f"{path}-mixture", "--images", "20", "--samples", "10"]) == 0
    assert "-log p(x), K = 10" in capsys.readouterr().out

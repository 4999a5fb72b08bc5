"""Learned priors: closed forms, and a prior that is fitted afterwards."""

import subprocess
import sys
from dataclasses import replace
from math import log, pi

import pytest
import torch
from cases.basics import E, named, small
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

import unveil
from unveil.cli import main
from unveil.data import from_arrays
from unveil.distributions import DiagonalGaussian, Mixture
from unveil.errors import DataError, SettingError
from unveil.evaluation import bound
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, NegativeLogPrior, Rate
from unveil.parts import (
    Autoregressive,
    Coupling,
    Exemplar,
    Gaussian,
    Isotropic,
    MixtureOfGaussians,
    Net,
    Point,
    Spline,
    Standard,
    TwoStage,
    UniformCodes,
    Vamp,
)
from unveil.refit import PRIORS, refit_prior
from unveil.training.average import state_of
from unveil.training.config import Training
from unveil.training.loop import Trainer


def encoder(size=3, context=0):
    return Net(Mlp(E, (8,), (2 * size,), context=context), Gaussian(size))


# mixtures


def torch_s(mixture):
    parts = Independent(Normal(mixture.components.loc, mixture.components.stddev), 1)
    return MixtureSameFamily(Categorical(logits=mixture.log_weights), parts)


def test_a_mixture_agrees_with_torch_s():
    torch.manual_seed(0)
    ours = MixtureOfGaussians(4, 7)
    with torch.no_grad():
        ours.logits.normal_()
        ours.log_scales.normal_()
    p = ours()
    reference, z = torch_s(p), 3 * torch.randn(5, 6, 4)
    assert torch.allclose(p.log_prob(z), reference.log_prob(z), atol=1e-5)
    assert torch.allclose(p.mean, reference.mean, atol=1e-5)
    assert torch.allclose(p.variance, reference.variance, atol=1e-5)


def test_a_mixture_s_density_is_the_same_in_pieces_as_at_once(monkeypatch):
    torch.manual_seed(0)
    p = MixtureOfGaussians(3, 5)()
    z = torch.randn(11, 2, 3)
    whole = p.log_prob(z).detach()
    monkeypatch.setattr("unveil.distributions.mixture.NUMBERS", 60)
    with torch.no_grad():
        assert torch.allclose(p.log_prob(z), whole, atol=1e-6)


def test_every_sample_of_a_mixture_chooses_its_own_component():
    """Components far apart tell where a sample is from; shares are as the weights, and neighbours are independent."""
    torch.manual_seed(0)
    weights = torch.tensor([0.1, 0.6, 0.3])
    p = Mixture(weights.log(), DiagonalGaussian(torch.tensor([[-100.0], [0.0], [100.0]]), torch.zeros(1)))
    n = 50_000
    z = p.sample((n,))[:, 0]
    chosen = (z / 100).round().long() + 1
    share = chosen.bincount(minlength=3) / n
    assert ((share - weights).abs() < 4 * (weights * (1 - weights) / n).sqrt()).all()
    both = ((chosen[:-1] == 1) & (chosen[1:] == 1)).float()
    assert abs(both.mean() - 0.36) < 4 * both.std() / n**0.5 * 2  # overlapping pairs: twice the error at most
    within = z - 100 * (chosen - 1)
    assert abs(within.var() - 1) < 4 * (2 / n) ** 0.5
    assert within.unique().numel() > 0.9 * n  # none is used twice


def test_samples_of_examples_that_share_components_are_independent():
    torch.manual_seed(0)
    weights = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    p = Mixture(weights.log(), DiagonalGaussian(torch.tensor([[0.0], [50.0]]), torch.zeros(1)))
    z = p.sample((4000,))
    assert z.shape == (4000, 2, 1)
    assert (z[:, 0].abs() < 10).all()
    first = z[:, 1, 0].abs() < 10
    assert abs(first.float().mean() - 0.5) < 4 * 0.5 / 4000**0.5
    assert z.unique().numel() > 0.99 * z.numel()  # but for the few floats that fall together, no draw serves twice


# the VampPrior


def test_the_density_of_a_vamp_is_the_mean_of_its_posteriors():
    torch.manual_seed(0)
    posterior = encoder()
    prior = Vamp(posterior, 5, E)
    z = torch.randn(4, 3)
    each = torch.stack([posterior(u[None]).log_prob(z) for u in prior.pseudo_inputs])
    assert torch.allclose(prior().log_prob(z).exp(), each.exp().mean(0), atol=1e-6)


def test_samples_of_a_vamp_come_from_all_pseudo_inputs_however_few_are_drawn():
    """Two samples at a time, again and again: the first two pseudo-inputs alone would be seen by those who take them."""
    torch.manual_seed(0)
    places = torch.eye(3).repeat(2, 1) * torch.tensor([50.0] * 3 + [-50.0] * 3)[:, None]
    prior = Vamp(Places(places), 6, (1,))
    with torch.no_grad():
        prior.pseudo_inputs.copy_(torch.arange(6.0)[:, None])
    seen = torch.cat([prior().sample((2,)) for _ in range(300)])
    chosen = torch.cdist(seen, places).argmin(1)
    share = chosen.bincount(minlength=6) / 600
    assert ((share - 1 / 6).abs() < 4.5 * (5 / 36 / 600) ** 0.5).all()


class Places(torch.nn.Module):
    """A posterior that puts the u-th input at the u-th place."""

    def __init__(self, places):
        super().__init__()
        self.places = places

    def forward(self, given=None, context=None, leading=1):
        return DiagonalGaussian(self.places[given[..., 0].long()], torch.zeros(3))


def test_a_vamp_in_a_conditional_model_is_a_mixture_for_each_context():
    torch.manual_seed(0)
    posterior = encoder(context=2)
    prior = Vamp(posterior, 4, E)
    contexts, z = torch.eye(2), torch.randn(7, 2, 3)
    both = prior(None, contexts)
    assert both.batch_shape == (2,)
    for place, context in enumerate(contexts):
        alone = Mixture(torch.full((4,), -log(4)), posterior(prior.pseudo_inputs, context.expand(4, -1)))
        assert torch.allclose(both.log_prob(z)[:, place], alone.log_prob(z[:, place]), atol=1e-5)
    assert prior(None, contexts).sample().shape == (2, 3)
    assert prior(None, contexts).sample((5,)).shape == (5, 2, 3)


def test_pseudo_inputs_begin_at_training_rows_and_stay_where_the_data_are(tiny):
    torch.manual_seed(0)
    prior = Vamp(encoder(), 20, E)
    prior.start(tiny.train)
    rows = tiny.train.reading.mean(tiny.train.values).flatten(1)
    assert (prior.pseudo_inputs.flatten(1)[:, None] == rows).all(-1).any(1).all()
    assert prior.pseudo_inputs.flatten(1).unique(dim=0).shape[0] == 20
    with torch.no_grad():
        prior.pseudo_inputs[0] = 3.0
    prior.update(None)
    assert prior.pseudo_inputs.min() >= 0
    assert prior.pseudo_inputs.max() <= 1
    free = Vamp(encoder(), 1, E, bounds=None)
    with torch.no_grad():
        free.pseudo_inputs.fill_(3.0)
    free.update(None)
    assert (free.pseudo_inputs == 3).all()


def test_training_keeps_pseudo_inputs_in_bounds_and_moves_them(tiny):
    chosen = named("vamp", pseudo_inputs=5)
    torch.manual_seed(0)
    model, objective = chosen(tiny)
    before = model.prior.pseudo_inputs.detach().clone()
    trainer = Trainer(model, objective, tiny, Training(batch_size=50, learning_rate=0.1), "float32")
    for _ in range(8):
        trainer.advance()
    assert (model.prior.pseudo_inputs != before).any()
    assert model.prior.pseudo_inputs.min() >= 0
    assert model.prior.pseudo_inputs.max() <= 1


def test_a_mixture_of_points_is_refused():
    with pytest.raises(SettingError, match="no density under a Delta"):
        Vamp(Net(Mlp(E, (), (3,)), Point(3)), 4, E)()


# exemplars


def exemplar(tiny, count=6):
    torch.manual_seed(0)
    prior = Exemplar(encoder(), count, E)
    prior.prepare(tiny.train, 0.0)
    return prior


def by_hand(prior, z, rows):
    means = prior.posterior(prior.exemplars[rows]).mean
    log_scale = 12 * torch.tanh(prior.log_scale / 12)
    squares = (z - means).square().sum(-1) / log_scale.exp().square()
    densities = -0.5 * squares - 3 * log_scale - 1.5 * log(2 * pi)
    return densities.exp().mean().log()


def test_an_exemplar_does_not_count_for_itself_in_training(tiny):
    prior = exemplar(tiny)
    with torch.no_grad():
        prior.log_scale.fill_(-0.7)
    z = torch.randn(3, 3)
    own, other = int(prior.rows[2]), int(next(row for row in range(99) if row not in prior.rows))
    given = torch.tensor([own, other, int(prior.rows[5])])
    expected = [by_hand(prior, z[0], [0, 1, 3, 4, 5]), by_hand(prior, z[1], range(6)), by_hand(prior, z[2], range(5))]
    assert torch.allclose(prior.train()(given).log_prob(z[None])[0], torch.stack(expected), atol=1e-5)
    everyone = torch.stack([by_hand(prior, each, range(6)) for each in z])
    assert torch.allclose(prior.eval()(given).log_prob(z[None])[0], everyone, atol=1e-5)
    assert torch.allclose(prior.train()(None).log_prob(z), everyone, atol=1e-5)


def test_exemplars_are_training_rows_drawn_anew_for_each_epoch_as_a_function_of_it(tiny):
    prior = exemplar(tiny)
    first, rows = prior.exemplars.clone(), prior.rows.clone()
    gray = tiny.train.reading.mean(tiny.train.values[rows])
    assert rows.unique().numel() == 6
    assert ((first == gray) | ((gray > 0) & (gray < 1))).all()  # white is white, black is black
    prior.prepare(tiny.train, 1.0)
    assert not torch.equal(prior.rows, rows)
    torch.manual_seed(5)
    prior.prepare(tiny.train, 0.0)
    assert torch.equal(prior.rows, rows)
    assert torch.equal(prior.exemplars, first)
    other = exemplar(tiny)
    other.key.add_(1)
    other.prepare(tiny.train, 0.0)
    assert not torch.equal(other.rows, rows)
    assert {"exemplars", "rows", "key"} <= set(dict(prior.named_buffers()))


def test_the_rows_of_a_training_batch_are_those_that_exemplars_know(tiny):
    """With the data themselves as exemplars, the loop's batch finds each of its images among them."""
    gray = from_arrays(tiny.train.values, tiny.train.labels, name="gray", measure="unit")
    prior = exemplar(gray, len(gray.train))
    batch = Trainer(
        VAE(prior, prior.posterior, Net(Mlp((3,), (8,), E), unveil.parts.CrossEntropy(3))),
        Distortion() + Rate(),
        gray,
        Training(batch_size=10),
        "float32",
    ).feed.batch(0)
    place = (prior.rows == batch.index[:, None]).int().argmax(1)
    assert torch.equal(prior.exemplars[place], batch.x)


def test_more_exemplars_than_examples_are_refused(tiny):
    with pytest.raises(SettingError, match="cannot be drawn from"):
        exemplar(tiny, len(tiny.train) + 1)
    with pytest.raises(SettingError, match="give at least 2"):
        Exemplar(encoder(), 1, E)


# flows


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
        base, (widen,) = p.base_dist, p.transforms
        return base.transform(widen.inv(x))

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
    transform, z = kind(3, 2, (8,))().base_dist.transform, torch.randn(5, 3)
    with torch.autocast("cpu", torch.bfloat16):
        noise, determinant = transform.call_and_ladj(z)
    assert noise.dtype == determinant.dtype == torch.float32


# two stages


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


# a prior fitted afterwards


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

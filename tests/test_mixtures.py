"""Priors that are mixtures: of Gaussians, of posteriors at pseudo-inputs, and of training rows."""

from math import log, pi

import pytest
import torch
from cases.basics import E, named
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

import unveil
from unveil.data import from_arrays
from unveil.distributions import DiagonalGaussian, Mixture
from unveil.errors import SettingError
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Rate
from unveil.parts import Exemplar, Gaussian, MixtureOfGaussians, Net, Point, Vamp
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

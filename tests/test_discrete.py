"""Discrete latents against enumeration: true nats, gradients that are what they say, forward passes that move nothing."""

from itertools import product
from math import log

import pytest
import torch
from cases.discrete import book, books, chosen, one_hot, writer
from torch import nn

from unveil.data import Batch
from unveil.distributions import DiagonalGaussian, GumbelOneHot
from unveil.errors import SettingError
from unveil.models import VAE, divergence
from unveil.networks import GridDecoder, GridEncoder, Mlp
from unveil.objectives import Commitment, Distortion, Rate, ScoreFunction
from unveil.parts import (
    AutoregressiveCodes,
    Bernoulli,
    Codebook,
    Gaussian,
    Lattice,
    Net,
    OneHot,
    Quantised,
    ResidualCodebook,
    Standard,
    UniformCodes,
    UniformOneHot,
)

T = torch.tensor(0.0)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def batch(n=4, event=(1, 6, 5)):
    return Batch((torch.rand(n, *event) < 0.5).float(), torch.arange(n), n)


def every(model):
    """All values of a small discrete z, (M, *event)."""
    prior = model.prior
    if isinstance(prior, UniformOneHot):
        index = torch.tensor(list(product(range(prior.classes), repeat=prior.dimensions)))
        return nn.functional.one_hot(index, prior.classes).float()
    places = prior.positions * prior.alphabet.depth
    return prior.alphabet.vectors(torch.tensor(list(product(range(prior.alphabet.codes), repeat=places))))


def exact(model, given):
    """(B,) -ELBO by enumeration of z, and log p(x) likewise."""
    z = every(model)[:, None].expand(-1, len(given.x), -1, -1)
    log_joint, log_q = model.log_joint(given, z), model.encode(given.x).log_prob(z)
    mass = log_q.exp()
    cost = torch.where(mass > 0, mass * (log_q - log_joint), 0.0).sum(0)
    return cost, log_joint.logsumexp(0)


ALPHABETS = {
    "codebook": lambda: book(3),
    "residual": lambda: ResidualCodebook([book(2), book(2)]),
    "lattice": lambda: Lattice((2, 3)),
}
MODELS = {
    "one-hot": one_hot,
    **{f"{name}-uniform": lambda make=make: chosen(make(), UniformCodes, 2) for name, make in ALPHABETS.items()},
    **{f"{name}-writer": lambda make=make: chosen(make(), writer, 2) for name, make in ALPHABETS.items()},
}


@pytest.mark.parametrize("name", MODELS)
def test_mass_sums_to_one(name):
    model = MODELS[name]()
    z = every(model)
    assert model.prior().log_prob(z).detach().exp().sum() == pytest.approx(1, abs=1e-5)
    q = model.encode(batch().x)
    assert torch.allclose(q.log_prob(z[:, None]).exp().sum(0), torch.ones(4), atol=1e-5)
    assert torch.allclose(divergence(q, model.prior()), _rate(q, model.prior(), z), atol=1e-5)


def _rate(q, p, z):
    log_q, log_p = q.log_prob(z[:, None]), p.log_prob(z)[:, None]
    return torch.where(log_q.isfinite(), log_q.exp() * (log_q - log_p), 0.0).sum(0)


@pytest.mark.parametrize("name", MODELS)
def test_distortion_and_rate_bound_log_p_and_the_estimate_of_p_is_a_lower_bound_or_unbiased(name):
    """With certain codes exp(-nll) is one term of the sum over z that p(x) is; with one-hot draws p(x) in the mean."""
    model, given = MODELS[name](), batch()
    cost, log_p = exact(model, given)
    draws = 2000 if name == "one-hot" else 1
    with torch.no_grad():
        draw = model.draw(given, draws)
    assert (cost >= -log_p - 1e-4).all()
    if name == "one-hot":
        ratio = (draw.log_w - log_p).exp()
        assert ((ratio.mean(0) - 1).abs() < 4 * ratio.std(0) / draws**0.5).all()
        assert ((draw.distortion + draw.rate - cost).abs() < 4 * draw.log_px.std(0) / draws**0.5).all()
    else:
        assert torch.allclose(draw.distortion + draw.rate, cost, atol=1e-4)
        assert torch.allclose(draw.log_w[0], -cost, atol=1e-4)
        assert (draw.log_w[0] < log_p).all()
        assert not draw.log_q[0].any()


def test_the_uniform_rate_is_positions_times_the_logarithm_of_codes():
    for alphabet, nats in ((book(7), 3 * log(7)), (books(), 3 * 2 * log(5)), (Lattice((8, 5)), 3 * log(40))):
        draw = chosen(alphabet).draw(batch(), 5)
        assert draw.log_q[0].shape == draw.log_p[0].shape == (5, 4)
        assert torch.allclose(draw.rate, torch.full((4,), nats))
        assert torch.allclose(-draw.log_p[0], torch.full((5, 4), nats))


def test_what_is_no_code_has_no_mass():
    model = chosen(book())
    z = model.draw(batch()).z[0]
    assert model.prior().log_prob(z).isfinite().all()
    assert model.prior().log_prob(z + 1e-3).isneginf().all()
    q = model.encode(batch().x)
    assert q.log_prob(model.prior().sample((1, 4))).isneginf().any()


def test_one_hot_agrees_with_torch():
    logits = torch.randn(5, 3, 4)
    ours, theirs = GumbelOneHot(logits, 0.7), torch.distributions.OneHotCategorical(logits=logits)
    z = ours.sample((2,))
    assert set(z.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(ours.log_prob(z), theirs.log_prob(z).sum(-1))
    assert torch.allclose(ours.entropy(), theirs.entropy().sum(-1))
    relaxed = ours.rsample((2000,))
    assert torch.equal(relaxed.sum(-1), torch.ones(2000, 5, 3))  # exactly one-hot, though it carries gradient
    error = (relaxed.mean(0) - ours.mean) / (ours.stddev / 2000**0.5)
    assert error.abs().max() < 4.5


def test_the_relaxed_draw_is_that_of_torch():
    logits = torch.randn(5, 3, 4, requires_grad=True)
    table, results = torch.randn(3, 4), []
    for draw in (
        lambda: GumbelOneHot(logits, 0.6).rsample(),
        lambda: nn.functional.gumbel_softmax(logits.log_softmax(-1), 0.6, hard=True),
    ):
        torch.manual_seed(1)
        z = draw()
        results.append((z.detach(), torch.autograd.grad(((z * table).sum((-2, -1)) ** 2).sum(), logits)[0]))
    assert torch.allclose(results[0][0], results[1][0])
    assert torch.allclose(results[0][1], results[1][1], atol=1e-6)


def test_the_relaxed_gradient_is_biased_and_by_this_much():
    """The straight-through gradient of E[f(z)] beside the exact one: hot is more wrong, cold is less so and wilder."""
    logits, table = torch.tensor([[0.5, -0.3, 0.1]], requires_grad=True), torch.tensor([1.0, -2.0, 0.5])
    # f(z) = (z table)^2 is not linear in z, so a relaxation has something to be wrong about
    (truth,) = torch.autograd.grad((logits.softmax(-1) * table**2).sum(), logits)
    found, n = {}, 40_000
    for heat in (2.0, 0.5, 0.1):
        q = GumbelOneHot(logits.expand(n, 1, 3), heat)
        gradient = torch.autograd.grad(((q.rsample() * table).sum((-2, -1)) ** 2).sum(), q.log_mass)[0]
        # by the chain rule through log-softmax, draw by draw
        gradient = gradient - gradient.sum(-1, keepdim=True) * logits.softmax(-1).detach()
        error = gradient.mean(0) - truth
        found[heat] = (error.norm() / truth.norm(), (error.abs() / (gradient.std(0) / n**0.5)).max(), gradient.std())
        print(f"temperature {heat}: bias {found[heat][0]:.0%} of the gradient, {found[heat][1]:.0f} standard errors")
    assert min(found[2.0][1], found[0.5][1]) > 8  # a bias, and no noise
    assert found[2.0][2] < found[0.5][2] < found[0.1][2]


def test_the_temperature_falls_in_prepare_alone_and_stops():
    head = OneHot(2, 3, temperature=1.0, lowest=0.5, anneal=0.1)
    seen = []
    for t in (0.0, 3.0, 100.0):
        head.prepare(None, t)
        seen.append(float(head(torch.zeros(1, 6)).temperature))
    assert seen == pytest.approx([1.0, 0.7408182, 0.5])


def gaussian():
    return VAE(Standard(2), Net(Mlp((1, 6, 5), (), (4,)), Gaussian(2)), Net(Mlp((2,), (3,), (1, 6, 5)), Bernoulli(3)))


def gradients(objective, model, given, repeats):
    """(repeats, P) gradients, and (repeats,) values, of the mean loss."""
    weights, values, found = list(model.parameters()), [], []
    for _ in range(repeats):
        loss = objective(model.draw(given, objective.samples or 1, objective.gradient or "pathwise"), model, T).mean()
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)]))
        values.append(loss.detach())
    return torch.stack(found).double(), torch.stack(values).double()


def z_scores(samples, truth):
    spread = samples.std(0) / len(samples) ** 0.5
    live = spread > 1e-9
    assert torch.allclose(samples.mean(0)[~live], truth[~live], atol=1e-6)
    return ((samples.mean(0) - truth)[live] / spread[live]).abs()


def test_the_score_function_is_unbiased_by_enumeration():
    model, given = one_hot(2, 3), batch(2)
    cost, _ = exact(model, given)
    truth = torch.cat([g.flatten() for g in torch.autograd.grad(cost.mean(), list(model.parameters()))]).double()
    found, values = gradients(ScoreFunction(3), model, given, 600)
    scores = z_scores(found, truth)
    assert scores.max() < 5  # of some 600 weights
    assert scores.square().mean() == pytest.approx(1, abs=0.4)
    assert abs(values.mean() - cost.mean()) < 4 * values.std() / len(values) ** 0.5
    relaxed, _ = gradients(Distortion() + Rate(), model, given, 600)
    assert z_scores(relaxed, truth).max() > 8  # the biased one would be told apart


def test_the_score_function_agrees_with_the_pathwise_gradient_of_a_gaussian():
    model, given = gaussian(), batch(2)
    score, values = gradients(ScoreFunction(4), model, given, 500)
    path, others = gradients(Distortion() + Rate(), model, given, 500)
    spread = ((score.var(0) + path.var(0)) / 500).sqrt()
    live = spread > 1e-9
    assert ((score.mean(0) - path.mean(0))[live] / spread[live]).abs().max() < 5
    assert abs(values.mean() - others.mean()) < 4 * ((values.var() + others.var()) / 500) ** 0.5


class Bare:
    """The score function without a baseline."""

    samples, gradient = 4, "score"

    def __call__(self, draw, model, t):
        cost = draw.log_q[0].detach() - draw.log_px - draw.log_p[0]
        return (cost + cost.detach() * draw.log_q[0]).mean(0)


def test_the_baseline_calms_the_score_function():
    model, given = one_hot(2, 3), batch(2)
    with_baseline, _ = gradients(ScoreFunction(4), model, given, 200)
    without, _ = gradients(Bare(), model, given, 200)
    assert with_baseline.var(0).sum() < 0.5 * without.var(0).sum()


def test_distortion_reaches_the_encoder_as_if_nothing_had_been_chosen():
    """Straight-through: the gradient at the encoder's output is that at z; summed over the codes of a position."""
    for alphabet in (book(), books()):
        model = chosen(alphabet)
        h = torch.randn(4, 3, 2, requires_grad=True)
        q = model.posterior.head(h)
        z = q.rsample((1,))
        z.retain_grad()
        model.decode(z).log_prob(batch().x).sum().backward()
        assert torch.allclose(h.grad, z.grad[0, :, :: alphabet.depth], atol=1e-6)
        assert torch.equal(z[0], q.mean)
        assert not q.stddev.any()


def test_the_rate_moves_the_prior_and_neither_encoder_nor_codes():
    model = chosen(book(), writer)
    model.draw(batch()).rate.sum().backward()
    assert all(p.grad is None for p in (*model.posterior.parameters(), *model.likelihood.parameters()))
    assert all(p.grad is not None for p in model.prior.parameters())


def test_commitment_is_a_sum_for_each_example_whatever_the_batch():
    """Not one over the batch: 0.25 |h - e|^2 of an example is the same alone and among others, and moves h alone."""
    model, given = chosen(book()), batch(6)
    loss = Commitment(0.25)(model.draw(given), model, T)
    h = model.posterior.network(given.x)
    nearest = torch.stack([(h[:, :, None] - model.prior.alphabet.table).square().sum(-1).min(-1).values]).sum((0, 2))
    assert torch.allclose(loss, 0.25 * nearest, atol=1e-6)
    alone = Batch(given.x[:1], given.index[:1], 6)
    assert torch.allclose(Commitment(0.25)(model.draw(alone), model, T), loss[:1], atol=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), model.posterior.network.last.bias)
    q = model.encode(given.x)
    assert torch.allclose(gradient, 0.5 * (q.inputs - q.vectors).sum(0).flatten(), atol=1e-5)
    with pytest.raises(SettingError, match="Quantised"):
        Commitment()(one_hot().draw(given), model, T)


def test_a_codebook_begins_with_data_follows_their_means_and_forgets_no_code():
    centres = torch.tensor([[0.0, 0.0], [5.0, 5.0], [-5.0, 5.0]])
    codebook = Codebook(3, 2, decay=0.9)
    data = (centres.repeat(100, 1) + 0.1 * torch.randn(300, 2)).reshape(100, 3, 2)
    codebook.follow(data)
    assert all((data.reshape(-1, 2) == code).all(-1).any() for code in codebook.table)
    for _ in range(150):
        codebook.follow(data)
    means = data.mean(0)
    assert torch.cdist(means, codebook.table).min(1).values.max() < 1e-3
    assert codebook.index(data).flatten().unique().numel() == 3
    codebook.table[2], codebook.counts[2] = torch.tensor([90.0, 90.0]), 0.0  # a code out of everybody's sight
    codebook.follow(data)
    assert codebook.table.abs().max() < 10


def test_laplace_smoothing_leaves_a_code_that_everybody_chose_where_they_are():
    codebook = Codebook(4, 1, decay=0.0)
    codebook.follow(torch.arange(4.0)[:, None])
    values = torch.arange(4.0).repeat(25)[:, None] + 0.125
    codebook.follow(values)
    assert torch.allclose(codebook.table.sort(0).values, torch.arange(4.0)[:, None] + 0.125, atol=1e-4)


def test_codes_move_in_update_alone_and_only_behind_an_encoder_that_learns():
    for alphabet in (book(), books()):
        model, given = chosen(alphabet), batch()
        head, before = model.posterior.head, [b.clone() for b in alphabet.buffers()]

        def same(alphabet=alphabet, before=before):
            return all(torch.equal(a, b) for a, b in zip(alphabet.buffers(), before, strict=True))

        draw = model.draw(given)
        assert same()
        model.posterior.requires_grad_(False)
        head.update(model.draw(given))
        assert same()
        head.update(draw)
        assert not same()


def test_each_residual_book_brings_the_sum_nearer():
    books = ResidualCodebook([Codebook(8, 2, 0.5) for _ in range(3)])
    h = torch.randn(200, 4, 2)
    for _ in range(40):
        books.follow(books.quantise(h).inputs)
    q = books.quantise(h)
    parts = q.vectors.unflatten(1, (4, 3)).cumsum(2)
    errors = (h[:, :, None] - parts).square().mean((0, 1, 3))
    assert (errors[1:] < 0.5 * errors[:-1]).all()
    assert torch.equal(books.vectors(books.index(q.vectors)), q.vectors)


def test_a_lattice_is_even_and_knows_its_points():
    for levels in ((2, 3), (8, 6, 5), (255,)):
        lattice = Lattice(levels)
        codes = torch.arange(lattice.codes)
        points = lattice.vectors(codes)
        assert torch.equal(lattice.index(points), codes)
        assert points.unique(dim=0).shape == (lattice.codes, len(levels))
        assert points.amax(0).tolist() == [1.0] * len(levels)
        assert points.amin(0).tolist() == [-1.0] * len(levels)
        h = 3 * torch.randn(500, len(levels))
        nearest = torch.cdist(torch.tanh(h), points).argmin(1)
        assert torch.equal(lattice.quantise(h).vectors, points[nearest])


def test_codes_that_are_close_are_told_apart():
    """By products, 100.0001 is nearer to 100 than to itself in float32, and the bound would be infinite."""
    codebook = Codebook(64, 4)
    codebook.table.copy_(100 + 1e-4 * torch.randn(64, 4))
    assert torch.equal(codebook.index(codebook.table), torch.arange(64))


def test_a_prior_written_in_place_of_the_uniform_one_learns_the_codes_by_the_rate_alone():
    model = chosen(book(4), positions=2)
    given = batch(64)
    model.prior = AutoregressiveCodes(model.prior.alphabet, 2, width=16, layers=1)
    before = model.draw(given).rate.mean().detach()
    assert before == pytest.approx(2 * log(4), rel=1e-5)  # it begins as the uniform one
    model.posterior.requires_grad_(False)
    adam = torch.optim.Adam(model.prior.parameters(), 0.02)
    for _ in range(60):
        loss = Rate()(model.draw(given), model, T).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    _, counts = model.encode(given.x).mean.flatten(1).unique(dim=0, return_counts=True)
    share = counts / 64
    loss = loss.detach()
    assert loss == pytest.approx(float(-(share * share.log()).sum()), abs=0.15)  # the entropy of the codes
    assert loss >= -(share * share.log()).sum() - 1e-4


def test_a_prior_sees_only_what_came_before():
    prior = writer(book(), 6)
    index = torch.randint(5, (1, 6))

    words = prior.word(index).detach().requires_grad_()
    h = prior.place + nn.functional.pad(words[:, :-1], (0, 0, 1, 0))
    for block in prior.blocks:
        h, _ = block(h)
    for place in range(6):
        (gradient,) = torch.autograd.grad(prior.last(prior.norm(h))[0, place].square().sum(), words, retain_graph=True)
        assert not gradient[0, place:].any()
        assert place == 0 or gradient[0, :place].abs().sum(-1).gt(0).all()


def test_copies_of_one_draw_are_weighed_once():
    model = chosen(book(), writer)
    seen = []
    prior = model.prior()
    inner, prior.log_mass = prior.log_mass, lambda index: (seen.append(len(index)), inner(index))[1]
    z = model.encode(batch().x).rsample((50,))
    found = prior.log_prob(z)
    assert seen == [4]
    assert torch.allclose(found, model.prior().log_prob(z.contiguous()), atol=1e-5)


@pytest.mark.parametrize("size", [(28, 28), (7, 5), (1, 9)])
def test_grids_reach_any_size(size):
    event = (2, *size)
    encoder = GridEncoder(event, (4, 8), 3)
    z = encoder(torch.randn(5, *event))
    rows, columns = -(-size[0] // 4), -(-size[1] // 4)
    assert z.shape == (5, rows * columns, 3)
    assert GridDecoder(3, (8, 4), event)(z).shape == (5, *event)


def test_a_cell_of_the_grid_stays_where_it_is():
    decoder = GridDecoder(3, (4,), (1, 28, 28))
    z = torch.zeros(1, 196, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(decoder(z)[0, 0, 3, 21], z)
    hit = gradient[0].abs().sum(-1).unflatten(0, (14, 14)).nonzero().float()
    assert (hit.mean(0) - torch.tensor([1.5, 10.5])).abs().max() < 1


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: OneHot(0, 3), "variable"),
        (lambda: OneHot(2, 3, temperature=0.0), "positive"),
        (lambda: OneHot(2, 3, anneal=-1.0), "keep it"),
        (lambda: UniformOneHot(2, 1), "2 classes"),
        (lambda: Codebook(1, 2), "at least 2"),
        (lambda: Codebook(4, 2, 1.0), "decay"),
        (lambda: ResidualCodebook([]), "at least one"),
        (lambda: ResidualCodebook([Codebook(4, 2), Codebook(5, 2)]), "the same"),
        (lambda: Lattice((5, 1)), "at least 2"),
        (lambda: Quantised(book(), 0), "position"),
        (lambda: AutoregressiveCodes(book(), 2, width=6, heads=4), "multiple"),
        (lambda: AutoregressiveCodes(book(), 2, layers=0), "at least 1"),
        (lambda: ScoreFunction(1), "at least 2"),
        (lambda: Commitment(-1.0), "at least 0"),
    ],
)
def test_settings_that_cannot_be_are_errors_that_say_what_to_do(make, hint):
    with pytest.raises(SettingError, match=hint):
        make()


def test_one_hot_rate_against_another_prior_is_the_closed_form():
    q, p = GumbelOneHot(torch.randn(2, 3, 4)), GumbelOneHot(torch.randn(3, 4))
    reference = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=q.log_mass), torch.distributions.Categorical(logits=p.log_mass)
    ).sum(-1)
    assert torch.allclose(divergence(q, p), reference, atol=1e-6)
    assert divergence(q, DiagonalGaussian(torch.zeros(3), torch.zeros(3))) is None

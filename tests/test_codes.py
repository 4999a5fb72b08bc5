"""Codes: gradients that pass them by, alphabets that follow the encoder, and priors that write them."""

from math import log

import pytest
import torch
from cases.discrete import book, books, chosen, one_hot, writer
from helpers.discrete import batch
from helpers.objectives import T
from torch import nn

from unveil.data import Batch
from unveil.errors import SettingError
from unveil.objectives import Commitment, Rate
from unveil.parts import AutoregressiveCodes, Codebook, Lattice, ResidualCodebook

pytestmark = pytest.mark.usefixtures("seeded")


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

"""Semi-supervised learning against enumeration and quadrature: what is summed over y, what a label takes away."""

from math import log, pi

import pytest
import torch
from cases.basics import named

from unveil import train
from unveil.data import Batch
from unveil.distributions import DiagonalGaussian
from unveil.errors import SettingError
from unveil.models import SemiSupervised
from unveil.networks import Mlp
from unveil.objectives import Classification, Distortion, Iwae, Rate
from unveil.part import Part
from unveil.parts import Bernoulli, Gaussian, Net, OptimalSigma, Standard
from unveil.recipes import recipe

C = 3
E = (4,)


def tiny_model():
    """One latent dimension, so that p(x) is a sum over a grid."""
    torch.manual_seed(0)
    return SemiSupervised(
        Standard(1),
        Mlp(E, (6,), (5,)),
        Mlp((5,), (), (C,)),
        Net(Mlp((5,), (), (2,), context=C), Gaussian(1)),
        Net(Mlp((1,), (6,), E, "silu", context=C), Bernoulli(1)),
        C,
    )


X = torch.tensor([[1.0, 0, 1, 1], [0, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 1]])
LABELS = torch.eye(C)[torch.tensor([2, 0, 1, 2])]
KNOWN = torch.tensor([True, False, True, False])


def batch_of(context=LABELS, labelled=KNOWN, x=X):
    return Batch(x, torch.arange(len(x)), 10, context=context, labelled=labelled)


def joint(model):
    """(B, C) log p(x, y) by quadrature over z."""
    grid = torch.linspace(-9, 9, 4_001)
    weight = -0.5 * grid.square() - 0.5 * log(2 * pi) + log(18 / 4_000)
    found = []
    for y in torch.eye(C):
        z = grid[:, None, None].expand(-1, len(X), 1)
        given = y.expand(len(X), C)
        found.append((model.decode(z, given).log_prob(X) + weight[:, None]).double().logsumexp(0) - log(C))
    return torch.stack(found, 1)


BATCHES = {
    "some": (batch_of(), KNOWN),
    "all": (batch_of(labelled=None), torch.ones(4, dtype=torch.bool)),
    "none": (batch_of(context=None, labelled=None), torch.zeros(4, dtype=torch.bool)),
}


@pytest.mark.parametrize(("batch", "known"), BATCHES.values(), ids=BATCHES)
def test_the_mean_weight_is_the_evidence_of_x_and_of_the_label_where_there_is_one(batch, known):
    model = tiny_model()
    with torch.no_grad():
        by_class = joint(model)
        exact = torch.where(known, (by_class * LABELS).sum(1), by_class.logsumexp(1))
        estimates = []
        for seed in range(40):
            torch.manual_seed(seed)
            draw = model.draw(batch, 250)
            estimates.append((draw.log_w + draw.log_mass).double().logsumexp(0))
    ratio = (torch.stack(estimates) - exact).exp()
    assert ((ratio.mean(0) - 1).abs() < 4 * ratio.std(0) / 40**0.5).all()
    assert (ratio.std(0) < 0.1).all()


class Asking(Part):
    """A standard normal prior that moves with the label, if it is told one."""

    def forward(self, given=None, context=None, leading=1):
        zeros = torch.zeros(1) if context is None else context[:, :1]
        return DiagonalGaussian(zeros, torch.zeros_like(zeros))


def test_the_prior_of_z_is_told_no_label_and_an_unknown_one_tells_nothing():
    model = tiny_model()
    model.prior = Asking()
    labels = LABELS.roll(1, 1)
    other = torch.where(KNOWN[:, None], LABELS, labels)
    draws = []
    for context in (LABELS, other):
        torch.manual_seed(0)
        draws.append(model.draw(batch_of(context), 3))
    told, untold = draws
    for name in ("log_w", "log_mass"):
        assert torch.equal(getattr(told, name), getattr(untold, name))
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(told.z[0]).sum(-1)
    assert torch.allclose(told.log_p[0], standard)


def test_the_optimal_sigma_counts_each_class_by_its_mass():
    model = tiny_model()
    head = OptimalSigma()
    model.likelihood = Net(Mlp((1,), (6,), E, "silu", context=C), head)
    draw = model.draw(batch_of(), 2)
    head.update(draw)
    by_class = (X - draw.output.mean).square().mean(-1).unflatten(0, (C, 2)).mean(1)  # (C, B)
    share = torch.where(KNOWN, LABELS.T, model.classify(X).exp().T)
    assert torch.allclose(head.variance, (share * by_class).sum(0).mean())


@pytest.mark.parametrize("gradient", ["pathwise", "sticking"])
def test_the_bound_is_the_sum_over_classes(gradient):
    model, samples = tiny_model(), 2
    torch.manual_seed(1)
    draw = model.draw(batch_of(), samples, gradient)
    loss = (Distortion() + Rate())(draw, model, torch.tensor(0.0))
    log_class = model.classify(X)
    expected = torch.zeros(4)
    for row in range(4):
        for y in range(C):
            for s in range(samples):
                k = y * samples + s
                assert torch.equal(draw.z[1][k, row], torch.eye(C)[y])
                z = draw.z[0][k, row]
                q = model.encode(X[row : row + 1], torch.eye(C)[y : y + 1])
                rate = q.log_prob(z) + 0.5 * z.square().sum() + 0.5 * log(2 * pi)
                if gradient == "pathwise":
                    rate = torch.distributions.kl_divergence(q, model.prior())
                value = -model.decode(z[None], torch.eye(C)[y : y + 1]).log_prob(X[row]) + rate + log(C)
                if KNOWN[row]:
                    expected[row] += (value * LABELS[row, y] / samples).item()
                else:
                    mass = log_class[row, y].exp() / samples
                    expected[row] += (mass * (value + log_class[row, y])).item()
    assert torch.allclose(loss, expected, atol=1e-4)


def test_a_label_s_classifier_learns_from_the_classification_alone_and_others_from_the_bound():
    model, t = tiny_model(), torch.tensor(0.0)
    draw = model.draw(batch_of(), 2)
    weight = model.classifier.last.weight
    nobody = torch.zeros_like(KNOWN)  # a weighted sum over all classes is p(x) whatever they count: q(y|x) cancels
    for term, learns in ((Distortion() + Rate(), ~KNOWN), (Iwae(2), nobody), (Classification(2.0), KNOWN)):
        loss = term(draw, model, t)
        for row in range(4):
            (grad,) = torch.autograd.grad(loss[row], weight, retain_graph=True, allow_unused=True)
            assert bool(grad is not None and grad.abs().sum() > 1e-5) == bool(learns[row])


@pytest.mark.parametrize("batch", [BATCHES["some"][0], BATCHES["none"][0]], ids=["some", "none"])
def test_the_classifier_s_gradient_is_exact_in_y(batch):
    """With z's noise held, it is that of a finite sum: finite differences meet it without a statistical error."""
    model = tiny_model()
    bias = model.classifier.last.bias

    def loss():
        torch.manual_seed(3)
        draw = model.draw(batch, 3)
        return (Distortion() + Rate())(draw, model, torch.tensor(0.0)).double().sum() + Iwae(3)(draw, model, None).sum()

    (grad,) = torch.autograd.grad(loss(), bias)
    for place in range(C):
        values = []
        for step in (5e-2, -5e-2):
            with torch.no_grad():
                bias[place] += step
                values.append(loss().item())
                bias[place] -= step
        assert (values[0] - values[1]) / 0.1 == pytest.approx(grad[place].item(), abs=2e-3)


def test_the_cross_entropy_is_that_of_torch_on_labelled_rows_and_zero_elsewhere():
    model, t = tiny_model(), torch.tensor(0.0)
    logits = model.classifier(model.encoder(X))
    exact = 3 * torch.nn.functional.cross_entropy(logits, LABELS.argmax(1), reduction="none")
    found = Classification(3.0)(model.draw(batch_of()), model, t)
    assert torch.allclose(found, torch.where(KNOWN, exact, 0.0), atol=1e-6)
    assert torch.allclose(Classification(3.0)(model.draw(batch_of(labelled=None)), model, t), exact, atol=1e-6)
    assert not Classification(3.0)(model.draw(batch_of(None, None)), model, t).any()


def test_log_joint_and_decoding_sum_over_what_is_not_given():
    model = tiny_model()
    draw = model.draw(batch_of(), 2)
    assert torch.allclose(model.log_joint(draw.batch, draw.z), draw.log_px + sum(draw.log_p), atol=1e-5)
    z = torch.randn(5, 4, 1)
    by_class = torch.stack([model.log_joint(draw.batch, (z, y.expand(4, C))) for y in torch.eye(C)])
    assert torch.allclose(model.log_joint(draw.batch, z), by_class.logsumexp(0), atol=1e-5)
    means = torch.stack([model.decode(z, y.expand(4, C)).mean for y in torch.eye(C)])
    assert torch.allclose(model.decode(z).mean, means.mean(0), atol=1e-6)


def test_without_a_label_an_example_is_encoded_at_its_most_probable_class():
    model = tiny_model()
    best = torch.eye(C)[model.classify(X).argmax(1)]
    assert torch.equal(model.encode(X).mean, model.encode(X, best).mean)


def test_samples_without_a_label_come_from_all_classes():
    model = tiny_model()
    with torch.no_grad():
        exact = joint(model).logsumexp(1)[0].exp()
    hits = (model.sample(20_000, seed=0) == X[0]).all(1).double()
    assert abs(hits.mean() - exact) < 4 * hits.std() / 20_000**0.5
    one = model.sample(20_000, LABELS[0], seed=0)
    hits = (one == X[0]).all(1).double()
    exact = (joint(model)[0, 2] + log(C)).exp().detach()
    assert abs(hits.mean() - exact) < 4 * hits.std() / 20_000**0.5


def test_refusals_say_what_to_do(tiny):
    model = tiny_model()
    with pytest.raises(SettingError, match="2 numbers"):
        model.draw(batch_of(context=torch.eye(2)[[0, 1, 1, 0]]))
    with pytest.raises(SettingError, match="score"):
        model.draw(batch_of(), 1, "score")
    with pytest.raises(SettingError, match="at least 0"):
        Classification(-1.0)
    flat, _ = named("vae")(tiny)
    batch = next(tiny.train.batches(3, 0))
    with pytest.raises(SettingError, match="no classifier"):
        Classification()(flat.draw(batch), flat, torch.tensor(0.0))
    with pytest.raises(SettingError, match="needs labels"):
        recipe("m2").compose(tiny)


def test_it_learns_classes_from_few_labels(tiny, tmp_path):
    """Half of the pixels are white in one class: twelve labels and the rest of the images are enough."""
    chosen = recipe("m2").given(known=12, hidden=(16,), latent=2)
    run = train(tiny, recipe=chosen, out=tmp_path / "m2", epochs=40, batch_size=50, learning_rate=1e-2)
    split = tiny.test
    with torch.no_grad():
        found = run.model.classify(split.reading.mean(split.values)).argmax(1)
    assert (found == split.labels).double().mean() > 0.95

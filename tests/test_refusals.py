"""Combinations whose numbers or gradients would be wrong are refused, with the way out in the message."""

import pytest
import torch
from cases.basics import small
from cases.discrete import book, chosen, one_hot
from cases.hierarchies import dense

from unveil.data import Batch
from unveil.errors import SettingError
from unveil.evaluation import evaluate
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import (
    Classification,
    DecoderNorm,
    DimensionRate,
    DipII,
    Distortion,
    Geco,
    GradientPenalty,
    Iwae,
    Mmd,
    Piwae,
    Rate,
    ScoreFunction,
)
from unveil.parts import (
    EuclideanMomentum,
    Flowed,
    Gaussian,
    HamiltonianPosterior,
    Net,
    Planar,
    Standard,
    UniformOneHot,
    VonMisesFisher,
)


def quantised():
    model = chosen(book())
    torch.manual_seed(0)
    model.posterior.head.alphabet.follow(torch.randn(40, 2))
    return model


def first(data):
    return next(data.train.batches(6, 0))


def test_chosen_codes_have_a_bound_and_no_estimate(tiny):
    """All draws are one and the same: their mean weight is p(x, z) of that z, whatever K is, and never p(x)."""
    model = quantised()
    found = evaluate(model, tiny.test, samples=50, images=10)
    assert found.nll is None
    assert found.ess is None
    assert found.neg_elbo is not None
    assert evaluate(one_hot(), tiny.test, samples=50, images=10).nll is not None


def test_the_importance_weighted_bound_has_no_score_function():
    """Its encoder would climb the wrong way: z without gradient leaves only -log q in the weights."""
    with pytest.raises(SettingError, match="no gradient"):
        Iwae(4, "score")


@pytest.mark.parametrize("other", [Mmd(), Distortion(), Rate()])
def test_nothing_that_reads_z_is_added_to_the_score_function(other):
    with pytest.raises(SettingError, match="take the score function alone"):
        _ = ScoreFunction(4) + 2.0 * other


def test_what_reads_no_z_may_be_added_to_the_score_function():
    assert (ScoreFunction(4) + DecoderNorm() + 3 * Classification(1.0)).gradient == "score"


@pytest.mark.parametrize("term", [Iwae(4, "dreg"), ScoreFunction(4)])
def test_a_constraint_is_not_put_beside_draws_for_one_term(term):
    with pytest.raises(SettingError, match="for one term alone"):
        Geco(term, 80.0)


@pytest.mark.parametrize("make", [one_hot, quantised])
@pytest.mark.parametrize("gradient", ["sticking", "dreg"])
def test_straight_through_draws_are_not_reparameterised_twice(make, gradient, tiny):
    with pytest.raises(SettingError, match="cannot stick the landing"):
        make().draw(first(tiny), 3, gradient)


def test_probabilities_are_not_compared_with_densities(tiny):
    counted, flat = one_hot(), small()
    shape = counted.prior().event_shape
    for model in (
        VAE(Standard(*shape) if len(shape) == 1 else Flat(shape), counted.posterior, counted.likelihood),
        VAE(UniformOneHot(1, 3), flat.posterior, flat.likelihood),
    ):
        with pytest.raises(SettingError, match="there is no rate"):
            model.draw(first(tiny))


class Flat(torch.nn.Module):
    """A standard normal prior over a matrix."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    def forward(self, given=None, context=None, leading=1):
        normal = torch.distributions.Normal(torch.zeros(self.shape), 1.0)
        return torch.distributions.Independent(normal, len(self.shape))


def test_maps_of_flat_space_do_not_bend_a_sphere():
    sphere = VonMisesFisher(3)
    head = Flowed(sphere, [Planar(3)])
    with pytest.raises(SettingError, match="flat space"):
        head(torch.zeros(2, *head.needs((3,))))
    with pytest.raises(SettingError, match="flat space"):
        HamiltonianPosterior(Net(Mlp((4,), (5,), sphere.needs((3,))), sphere), EuclideanMomentum(), 3)(torch.zeros(2, 4))


def test_one_hot_variables_are_not_taken_for_real_ones(tiny):
    """What `log_probs` is to them is another thing: moments and marginals by dimension would be silently wrong."""
    model, batch = one_hot(), first(tiny)
    for term in (DimensionRate(), DipII()):
        with pytest.raises(SettingError):
            term(model.draw(batch), model, torch.tensor(0.0))


def test_a_penalty_on_the_decoder_does_not_look_at_unknown_labels(tiny):
    batch = first(tiny)
    hidden = Batch(batch.x, batch.index, batch.size, labelled=torch.zeros(6, dtype=torch.bool))
    model = small()
    with pytest.raises(SettingError, match="not known of all"):
        GradientPenalty()(model.draw(hidden), model, torch.tensor(0.0))


def test_bounds_for_one_encoder_refuse_several_layers(tiny):
    model = dense()
    with pytest.raises(SettingError, match="one layer of z"):
        Piwae(2, 2)(model.draw(first(tiny), 4), model, torch.tensor(0.0))


def test_a_gaussian_is_what_all_of_these_take(tiny):
    """The control: none of the refusals above hits what is right."""
    model, t = small(), torch.tensor(0.0)
    for term in (Iwae(4, "dreg"), ScoreFunction(4), Geco(Rate(), 80.0), DimensionRate(), DipII(), Piwae(2, 2)):
        term(model.draw(first(tiny), term.samples or 1, term.gradient or "pathwise"), model, t)
    assert Flowed(Gaussian(3), [Planar(3)]).needs((3,))

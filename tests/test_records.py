"""The recipes for records: what they are at full size, and that they train; and the command that measures them."""

import pytest
import torch
from torch import nn

from unveil.data import from_arrays
from unveil.networks import Mlp, ResidualEncoder
from unveil.objectives import Iwae
from unveil.parts import Coupling, Gaussian
from unveil.recipes import RECIPES, recipe
from unveil.store import size
from unveil.training import Training
from unveil.training.loop import Trainer

SMALL = {
    "iwae-50": {"latent": 3, "hidden": (8, 8), "samples": 5},
    "mnist-flow": {"latent": 3, "hidden": (8,), "transforms": 2, "width": 8},
    "mnist-conv": {"latent": 3, "channels": (4, 4), "blocks": 1, "transforms": 2, "width": 8},
    "mnist-ladder": {"latent": 3, "channels": (4, 4), "groups": 2, "planes": 1},
}


def composed(name, data):
    torch.manual_seed(0)
    return recipe(name).compose(data)


def widths(network):
    return [layer.weight.shape for layer in network.modules() if isinstance(layer, nn.Linear)]


def test_the_network_of_burda_et_al_is_theirs(digits):
    model, objective = composed("iwae-50", digits)
    encoder, decoder = model.posterior.network.network, model.likelihood.network
    assert isinstance(objective, Iwae)
    assert isinstance(model.posterior.head, Gaussian)
    assert objective.samples == 50
    assert widths(encoder) == [(200, 64), (200, 200), (100, 200)]
    assert widths(decoder) == [(200, 50), (200, 200), (64, 200)]
    assert {encoder.activation, decoder.activation} == {"tanh"}


def test_the_others_are_what_they_are_called(digits):
    flow, _ = composed("mnist-flow", digits)
    conv, _ = composed("mnist-conv", digits)
    ladder, _ = composed("mnist-ladder", digits)
    assert isinstance(flow.prior, Coupling)
    assert isinstance(conv.prior, Coupling)
    assert isinstance(flow.posterior.network.network, Mlp)
    assert isinstance(conv.posterior.network.network, ResidualEncoder)
    assert flow.prior.latent == conv.prior.latent == 40
    assert len(ladder.groups) == 10


def test_tanh_is_between_the_layers():
    torch.manual_seed(0)
    network, x = Mlp((3,), (4,), (2,), "tanh"), torch.randn(5, 3)
    (first,) = network.layers
    assert torch.allclose(network(x), network.last(torch.tanh(first(x))))


@pytest.mark.parametrize("name", SMALL)
def test_a_recipe_for_records_takes_finite_steps_and_learns(name, tiny):
    torch.manual_seed(0)
    chosen = recipe(name).given(**SMALL[name])
    model, objective = chosen.compose(tiny)
    trainer = Trainer(model, objective, tiny, Training(epochs=10, batch_size=60), "float32")
    trainer.step.train()
    before = [weight.clone() for weight in trainer.state.flat.parameters]
    trainer.prepare()
    assert all(bool(trainer.advance()) for _ in range(3))
    changed = [not torch.equal(one, other) for one, other in zip(before, trainer.state.flat.parameters, strict=True)]
    assert sum(changed) > 0.9 * len(changed)


def test_newcomers_are_told_which_are_for_records_and_how_long_they_take():
    for name in SMALL:
        assert RECIPES[name].summary.startswith("for records on MNIST")
        assert any(word in RECIPES[name].summary for word in ("minutes on", "hour on"))


def test_the_weights_of_a_record_are_a_file_of_at_most_16_mib():
    images = torch.zeros(60, 1, 28, 28, dtype=torch.uint8)
    for name in SMALL:
        assert size(composed(name, from_arrays(images, name="as large as MNIST's"))[0]) < 16 * 2**20 - 2**16, name

"""The recipes for records: what they are at full size, and that they train; and the command that measures them."""

import importlib
from pathlib import Path

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


# the command that measures them


@pytest.fixture(scope="module")
def records():
    """bench/records.py, which stands beside the package."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(Path(__file__).parents[1] / "bench"))
        yield importlib.import_module("records")


def test_every_recipe_for_records_has_a_row_and_the_page_its_table(records):
    assert {one.recipe for one in records.ALL} == {"mnist-2d", "mnist", *SMALL}
    text = records.PAGE.read_text(encoding="utf-8")
    assert all(f"`unveil {' '.join(one.train('SEED'))}`" in text for one in records.ALL)


def test_a_row_is_refreshed_and_the_others_stay(records):
    empty = records.table("", {})
    assert empty.count(records.NOT_YET) == 5
    assert empty.count(records.NO_MACHINE) == 3
    first, second = records.ALL[:2]
    one = records.table(empty, {first.name: first.row("85.01 ± 0.21", "3,500 s", "2 cores")})
    two = records.table(one, {second.name: second.row("83.01 ± 0.21", "1,100 s", "2 cores")})
    assert [line for line in two.splitlines() if "± 0.21" in line] == [
        first.row("85.01 ± 0.21", "3,500 s", "2 cores"),
        second.row("83.01 ± 0.21", "1,100 s", "2 cores"),
    ]
    again = records.table(two, {first.name: first.row("84.99 ± 0.21", "3,400 s", "2 cores")})
    assert "85.01" not in again
    assert "83.01" in again
    assert len(again.splitlines()) == 2 + len(records.ALL)


def test_a_seed_is_trained_and_evaluated_by_commands_once(mnist, records, tmp_path, monkeypatch, capsys):
    small = ("--epochs", "1", "--model.hidden", "8", "--model.transforms", "2", "--model.width", "8")
    record = records.Record("small", "mnist-flow", 200.0, "a second", 2, 20, small)
    found = records.measured(record, 0, tmp_path, None)
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert found.report.nats.samples == 2
    assert found.report.nll.n == 20
    page = records.details(record, [found])
    for said in (f"unveil {' '.join(record.train(0))}", "the model is in small-0", '"epoch": 1', str(found.report)):
        assert said in page
    assert str(tmp_path) not in page
    assert f"{found.report.nll.value:.2f} ± {found.report.nll.stderr:.2f} | 2 | 20 | 200.0" in records.row_of(
        record, [found]
    )

    monkeypatch.setattr(records, "_call", lambda *given: pytest.fail("what is done already is not done again"))
    assert str(records.measured(record, 0, tmp_path, None).report) == str(found.report)
    other = records.Record("small", "mnist-flow", 200.0, "a second", 4, 20, small)
    with pytest.raises(pytest.fail.Exception, match="done already"):
        records.measured(other, 0, tmp_path, None)  # evaluated with another K

"""The first tensor that is not finite is found in the step that was lost, with its module and the rows it comes from."""

import logging
import re

import pytest
import torch
from helpers.doctor import only
from torch import nn

import unveil
from unveil.data import from_arrays
from unveil.doctor import examine_run, first_nonfinite
from unveil.errors import DivergedError, SettingError
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Rate
from unveil.parts import Gaussian, Isotropic, Net, Standard

SHY = 2.0
ODD = 6.0
"""Marks the planted row in its first entry; others stay within 4.5."""


def data(planted=7):
    values = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)).clamp(-4.5, 4.5)
    made = from_arrays(values)
    if planted is not None:
        made.train.values[planted, 0] = ODD
    return made


class Trap(nn.Module):
    """An encoder that gives no number for the planted row."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 4)

    def forward(self, x):
        hidden = torch.tanh(self.first(x))
        return self.last(self.spoil(x, hidden))

    def spoil(self, x, hidden):
        return torch.where(x[:, :1] == ODD, torch.nan, hidden)


class Shy(nn.Module):
    """A decoder that gives no number for z far out."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(2, 3)

    def forward(self, z):
        return self.last(torch.where(z[:, :1] > SHY, torch.nan, z))


class SteepTrap(Trap):
    """One whose output is a number for every row, and whose gradient is none for the planted one."""

    def spoil(self, x, hidden):
        gone = torch.where(x[:, :1] == ODD, 0.0, 1.0)
        return hidden * (1 + 1e-3 * (gone * hidden.abs()).sqrt())


class WornTrap(Trap):
    """One that works until its weights have moved so and so far, and never again."""

    def __init__(self, far):
        super().__init__()
        self.far = far

    def spoil(self, x, hidden):
        return hidden + (self.far - self.first.weight.norm()).sqrt() * 1e-9


class Lengths:
    """Notes how long a weight is before each step."""

    def __init__(self, weight):
        self.weight, self.lengths = weight, [float(weight.detach().norm())]

    def begin(self, watched):
        pass

    def step(self, step):
        self.lengths.append(float(self.weight.detach().norm()))

    def epoch(self, record):
        pass


class Strange(Isotropic):
    """A likelihood whose density is no number where x is odd."""

    def forward(self, parameters):
        made = super().forward(parameters)
        made.log_prob = lambda value: type(made).log_prob(made, value) + (ODD - value[..., 0] - 1e-6).log() * 1e-6
        return made


def model(network, head=None, decoder=None):
    torch.manual_seed(0)
    likelihood = Net(decoder or Mlp((2,), (8,), (3,)), head or Isotropic())
    return VAE(Standard(2), Net(network, Gaussian(2)), likelihood)


def trained(path, network, given=None, head=None, decoder=None, **settings):
    settings = {"epochs": 3, "batch_size": 40, "checkpoint_every": 1, "precision": "float32", **settings}
    torch.manual_seed(0)
    built = model(network, head, decoder)
    return unveil.train(given or data(), model=built, objective=Distortion() + Rate(), out=path, **settings)


def warned(caplog):
    """The lost steps that the loop named while it trained."""
    return [int(step) for record in caplog.records for step in re.findall(r"step (\d+) \(rows", record.getMessage())]


def test_a_row_that_gives_no_number_is_found_from_a_checkpoint(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run = trained(tmp_path / "run", Trap())
    found = first_nonfinite(run, run.data)
    assert found.exact
    assert found.step in warned(caplog)
    assert found.step >= 16  # the checkpoints kept are those after epochs 2 and 3 of 8 steps
    assert found.module == "model.posterior.network.last"
    assert found.tensor == "the input"
    assert found.rows == (int(run.data.train.rows[7]),)


def test_without_a_checkpoint_the_weights_in_use_are_asked(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run = trained(tmp_path / "run", Trap(), checkpoint_every=0)
    found = first_nonfinite(run, run.data)
    assert not found.exact
    assert found.step == warned(caplog)[0]
    assert found.rows == (int(run.data.train.rows[7]),)


def test_a_gradient_that_is_no_number_is_found_behind_a_finite_loss(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run = trained(tmp_path / "run", SteepTrap())
    found = first_nonfinite(run, run.data)
    assert found.exact
    assert found.step in warned(caplog)
    assert (found.module, found.tensor) == ("model.posterior.network.first", "the gradient of the output")
    assert found.rows == (int(run.data.train.rows[7]),)


def test_a_density_that_is_no_number_is_found_between_the_modules(tmp_path):
    run = trained(tmp_path / "run", Mlp((3,), (8,), (4,)), head=Strange())
    found = first_nonfinite(run, run.data)
    assert (found.module, found.tensor) == ("", "log p(x|z)")
    assert found.rows == (int(run.data.train.rows[7]),)


def test_a_step_is_taken_again_with_the_very_noise_that_it_had(tmp_path, caplog):
    """The decoder gives no number for z that are rare: only the noise of the step tells which."""
    with caplog.at_level(logging.WARNING):
        run = trained(tmp_path / "run", Mlp((3,), (8,), (4,)), data(None), decoder=Shy(), epochs=5, learning_rate=1e-4)
    found = first_nonfinite(run, run.data)
    assert found.exact
    assert found.step in warned(caplog)
    assert (found.module, found.tensor) == ("model.likelihood.network.last", "the input")
    assert 1 <= len(found.rows) <= 3


def test_rows_that_are_no_numbers_themselves_are_x(tmp_path):
    spoiled = data(None)
    spoiled.train.values[3, 1] = torch.nan
    run = trained(tmp_path / "run", Mlp((3,), (8,), (4,)), spoiled)
    found = first_nonfinite(run, run.data)
    assert (found.module, found.tensor) == ("", "x itself")
    assert found.rows == (int(run.data.train.rows[3]),)


def test_a_run_that_diverges_by_its_weights_is_taken_up_at_the_checkpoint_before(tmp_path, caplog):
    """The trap closes when the weights have moved far enough: only the weights of that very step show it."""
    settings = {"epochs": 8, "learning_rate": 0.05, "schedule": "constant", "warmup": 0.0}
    torch.manual_seed(1)
    network = Trap()
    watch = Lengths(network.first.weight)
    trained(tmp_path / "free", network, data(None), monitor=watch, **settings)
    lengths = watch.lengths
    last = max(range(12, 40), key=lambda step: lengths[step + 1] - max(lengths[: step + 1]))  # makes it longest by far
    limit = (lengths[last + 1] + max(lengths[: last + 1])) / 2
    assert lengths[last + 1] > limit > lengths[0]

    torch.manual_seed(1)
    with caplog.at_level(logging.WARNING), pytest.raises(DivergedError):
        trained(tmp_path / "run", WornTrap(limit), data(None), **settings)
    run = unveil.open(tmp_path / "run", parts=[WornTrap])
    found = first_nonfinite(run, data(None))
    assert found.exact
    assert found.step == last + 1
    assert found.step in warned(caplog)
    assert found.module == "model.posterior.network.last"


def test_the_finding_names_step_module_and_rows_and_says_no_more(tmp_path):
    run = trained(tmp_path / "run", Trap(), epochs=12, batch_size=20)
    findings = [finding for finding in examine_run(run, run.data) if "not finite" in finding.what]
    finding = only(findings, "doubtful", "steps were left out")
    assert "12 of n = 192 steps" in finding.evidence
    assert f"in rows {int(run.data.train.rows[7])} of the source" in finding.evidence
    assert "model.posterior.network.last" in finding.evidence


def test_where_nothing_was_lost_there_is_nothing_to_look_for(tmp_path):
    run = trained(tmp_path / "run", Trap(), data(None), epochs=1)
    with pytest.raises(SettingError, match="no step of this run was lost"):
        first_nonfinite(run, run.data)


def test_the_number_of_steps_is_limited(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run = trained(tmp_path / "run", Trap())
    lost = first_nonfinite(run, run.data)
    assert first_nonfinite(run, run.data, steps=lost.steps) == lost
    if lost.steps > 1:
        with pytest.raises(SettingError, match="no step was lost in"):
            first_nonfinite(run, run.data, steps=lost.steps - 1)


def test_a_search_leaves_the_run_and_the_callers_random_state_as_they_were(tmp_path):
    run = trained(tmp_path / "run", Trap())
    weights = [parameter.clone() for parameter in run.model.parameters()]
    files = {path: path.read_bytes() for path in sorted((tmp_path / "run").rglob("*")) if path.is_file()}
    state = torch.random.get_rng_state()
    first_nonfinite(run, run.data)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(now, then) for now, then in zip(run.model.parameters(), weights, strict=True))
    assert not run.model.training
    assert {path: path.read_bytes() for path in sorted((tmp_path / "run").rglob("*")) if path.is_file()} == files

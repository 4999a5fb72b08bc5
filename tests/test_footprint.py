"""What training takes of memory is told before it takes it, and what cannot fit is refused with what would."""

import subprocess
import sys

import pytest
import torch
from helpers.runs import SHORT, linear_model, real_data

import unveil
from unveil import hardware, preflight
from unveil.errors import SettingError
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Mmd, Rate
from unveil.parts import Gaussian, Isotropic, Net, Standard
from unveil.preflight import foresee
from unveil.training import Training
from unveil.training.footprint import footprint, kept
from unveil.training.step import Step

CPU = torch.device("cpu")
MEASURE = """
import sys, threading, time, torch, unveil
from unveil.preflight import foresee
from unveil.recipes import recipe
from unveil.training import Training
from unveil.training.loop import fit
name, hidden, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
pixels = torch.randint(0, 256, (batch + 100, 1, 28, 28), dtype=torch.uint8)
chosen = recipe(name).given(hidden=(hidden, hidden))
data = chosen.prepare(unveil.load(pixels.numpy()))
model, objective = chosen.compose(data)
config = Training(epochs=2, batch_size=batch, validate_every=0)
told = foresee(model, objective, data, config, "float32", torch.device("cpu")).total
taken = lambda: 4096 * int(open("/proc/self/statm").read().split()[1])
before, most, over = taken(), 0, False
def watch():
    global most
    while not over:
        most = max(most, taken())
        time.sleep(0.001)
watcher = threading.Thread(target=watch)
watcher.start()
fit(model, objective, data, config, "float32")
over = True
watcher.join()
print((most - before) / told)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("name", "hidden", "batch"), [("vae", 2500, 50), ("vae", 200, 8000), ("beta-tc-vae", 50, 1500)])
def test_the_forecast_is_near_what_a_process_takes(name, hidden, batch):
    done = subprocess.run([sys.executable, "-c", MEASURE, name, str(hidden), str(batch)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0.6 < float(done.stdout) < 1.3


def test_weights_count_as_often_as_they_are_kept():
    model, objective = linear_model()
    step, train = Step(model, objective), real_data().train
    count = sum(parameter.numel() for parameter in step.parameters())
    found = footprint(step, train, Training(), "float32", 2**40)
    # value, gradient of the layer and of the vector, two moments, average and best average; four of them again to go back
    assert found.weights == 4 * 7 * count
    assert footprint(step, train, Training(nonfinite="roll-back"), "float32", 2**40).weights == 4 * 11 * count


def foreseen(objective=None, **config):
    model, usual = linear_model()
    return foresee(model, objective or usual, real_data(), Training(**config), "float32", CPU)


def test_a_step_in_turns_takes_what_one_turn_takes_unless_its_terms_read_all_of_them():
    one, whole = foreseen(batch_size=30).batch, foreseen(batch_size=120).batch
    assert foreseen(batch_size=120, accumulate=4).batch == one < whole
    coupled = Distortion() + Mmd()
    assert foreseen(coupled, batch_size=120, accumulate=4).batch == foreseen(coupled, batch_size=120).batch


def test_what_fits_in_turns_is_said_of_the_whole_batch(monkeypatch):
    free = foreseen(batch_size=30).total - 1
    monkeypatch.setattr(preflight, "free_memory", lambda: free)
    with pytest.raises(SettingError, match=r"of 120 examples in 4 parts, .* give a batch size of at most 116$"):
        foreseen(batch_size=120, accumulate=4)


def wide():
    torch.manual_seed(0)
    posterior, likelihood = Net(Mlp((3,), (300, 300), (4,)), Gaussian(2)), Net(Mlp((2,), (300, 300), (3,)), Isotropic())
    return Step(VAE(Standard(2), posterior, likelihood), Distortion() + Rate())


def test_weights_are_no_part_of_what_a_step_keeps():
    step = wide()
    weights = 4 * sum(parameter.numel() for parameter in step.parameters())
    assert kept(step, real_data().train, 2, Training(), "float32") < weights / 10


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_mode_and_chance_as_they_were(training):
    step = wide().train(training)
    before = torch.get_rng_state()
    kept(step, real_data().train, 2, Training(), "float32")
    assert torch.equal(torch.get_rng_state(), before)
    assert {module.training for module in step.modules()} == {training}


def test_what_cannot_fit_is_refused_with_what_would(monkeypatch):
    data, (model, objective) = real_data(), linear_model()
    config = Training(batch_size=120)
    free = foresee(model, objective, data, config, "float32", CPU).total - 1
    monkeypatch.setattr(preflight, "free_memory", lambda: free)
    with pytest.raises(SettingError, match=r"give a batch size of at most 119$"):
        foresee(model, objective, data, config, "float32", CPU)
    assert foresee(model, objective, data, Training(batch_size=119), "float32", CPU).total <= free
    monkeypatch.setattr(preflight, "free_memory", lambda: 100)
    with pytest.raises(SettingError, match="no batch size fits; make the model smaller"):
        foresee(model, objective, data, config, "float32", CPU)


def test_a_model_that_no_machine_holds_is_refused_before_it_takes_memory(tmp_path):
    huge = ("train", "digits", "--model.hidden", "3000000", "3000000", "--out", str(tmp_path / "run"))
    done = subprocess.run([sys.executable, "-m", "unveil", *huge], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "make it smaller" in done.stderr
    assert not (tmp_path / "run").exists()


def test_weights_are_counted_while_the_model_is_built(monkeypatch, tmp_path):
    monkeypatch.setattr(preflight, "free_memory", lambda: 10_000)
    with pytest.raises(SettingError, match=r"the model has at least [0-9,]+ weights, which take .* make it smaller"):
        unveil.train("digits", "vae", out=tmp_path / "run", **SHORT)
    assert not (tmp_path / "run").exists()


def test_foreseeing_changes_nothing(monkeypatch, tmp_path):
    data = real_data()
    seen = unveil.train(data, "vae", out=tmp_path / "seen", **SHORT)
    monkeypatch.setattr(preflight, "free_memory", lambda: None)
    unseen = unveil.train(data, "vae", out=tmp_path / "unseen", **SHORT)
    assert seen.manifest["tensors"] == unseen.manifest["tensors"]


def test_a_container_tells_what_it_may_take(monkeypatch, tmp_path):
    monkeypatch.setattr(hardware, "GROUPS", tmp_path)
    assert hardware._container() is None
    machine = hardware.free_memory()
    (tmp_path / "memory.max").write_text("max\n")
    assert hardware.free_memory() == pytest.approx(machine, rel=0.2)
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 200000\n")
    assert hardware.free_memory() == 500_000


def test_a_container_of_the_older_kind_tells_too(monkeypatch, tmp_path):
    monkeypatch.setattr(hardware, "GROUPS", tmp_path)
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("1000000\n")
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("700000\n")
    # its own, and with those within it, which is what the usage counts
    (tmp_path / "memory" / "memory.stat").write_text("inactive_file 50000\ntotal_inactive_file 200000\n")
    assert hardware.free_memory() == 500_000

"""Several processes that train one model, or one that makes a step in several turns: it is the same step."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers import ranks

import unveil
from unveil import preflight
from unveil.data import Batch, from_arrays
from unveil.distributions import DiagonalGaussian
from unveil.errors import SettingError
from unveil.models import VAE, Draw
from unveil.networks import Mlp
from unveil.objectives import (
    Capacity,
    DimensionRate,
    DipI,
    DipII,
    Distortion,
    FreeBits,
    Geco,
    MinibatchWeights,
    Mmd,
    MutualInformation,
    Rate,
    Term,
    TotalCorrelation,
)
from unveil.part import Part
from unveil.parts import Net, OptimalSigma, Point, Quantised, Standard
from unveil.training import Training
from unveil.training.loop import Trainer
from unveil.training.peers import Microbatch, converse
from unveil.training.ranks import join
from unveil.training.team import ALONE

HELPER = Path(ranks.__file__)
NOW = torch.tensor(1.5)

# one batch, cut


def leaves(size=7, dimensions=3, samples=2):
    """Means and log-scales of posteriors and noise, float64."""
    source = torch.Generator().manual_seed(0)
    shapes = (size, dimensions), (size, dimensions), (samples, size, dimensions), (samples, size)
    return [torch.randn(*shape, generator=source, dtype=torch.float64) for shape in shapes]


def drawn(loc, log_scale, noise, log_px, rows, peers=None):
    """The draw of some of the rows."""
    posterior = DiagonalGaussian(loc[rows], log_scale[rows], 1)
    prior = DiagonalGaussian(torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), 1)
    z = posterior.loc + posterior.log_scale.exp() * noise[:, rows]
    kl = torch.distributions.kl_divergence(posterior, prior).expand(len(z), -1)
    index = torch.arange(len(loc))[rows]
    return Draw(
        batch=Batch(torch.zeros(len(index), 1), index, 50, peers=peers),
        z=(z,),
        log_px=log_px[:, rows],
        log_mass=torch.full(z.shape[:2], -torch.tensor(float(len(z))).log(), dtype=torch.float64),
        densities=lambda: ((posterior.log_prob(z),), (prior.log_prob(z),)),
        divergences=lambda: (kl,),
        output=posterior,
        posterior=posterior,
        prior=prior,
    )


COUPLED = {
    "mmd": Mmd(),
    "free bits": FreeBits(0.5),
    "capacity": Capacity(Rate(), 3.0, 10.0),
    "mutual information": MutualInformation(),
    "total correlation": TotalCorrelation(),
    "its other weights": TotalCorrelation(MinibatchWeights()),
    "dimension rate": DimensionRate(),
    "dip 1": DipI(),
    "dip 2": DipII(2.0, 3.0),
    "a sum of them": Mmd() + 2 * FreeBits(1.0) + DipII(),
}


@pytest.mark.parametrize("cuts", [(3,), (1, 2), (4, 6)], ids=str)
@pytest.mark.parametrize("name", COUPLED)
def test_a_term_that_couples_is_the_same_for_a_batch_that_is_cut(name, cuts, monkeypatch):
    term, (loc, log_scale, noise, log_px) = COUPLED[name], leaves()
    pieces = [slice(a, b) for a, b in zip((0, *cuts), (*cuts, len(loc)), strict=True)]
    # a prior's draws are noise, of which each part has its own: here it has its own part of the same
    fixed = torch.randn(noise.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    monkeypatch.setattr("unveil.objectives.mmd.of_prior", lambda prior, z: fixed[:, where[0]])

    def gradients(evaluate):
        leaf, other = loc.clone().requires_grad_(), log_scale.clone().requires_grad_()
        losses = evaluate(leaf, other)
        return losses.detach(), *torch.autograd.grad(losses.mean(), (leaf, other), materialize_grads=True)

    def whole(leaf, other):
        return term(drawn(leaf, other, noise, log_px, slice(0, len(loc))), None, NOW)

    def cut(leaf, other):
        peers = [Microbatch(ALONE, place, len(loc), n, len(pieces), []) for n, place in enumerate(pieces)]
        draws = [drawn(leaf, other, noise, log_px, place, peer) for place, peer in zip(pieces, peers, strict=True)]

        def evaluate(draw):
            where[:] = [draw.place]
            return term(draw, None, NOW)

        return torch.cat(converse(ALONE, peers, [partial(evaluate, draw) for draw in draws], len(draws)))

    where = [slice(0, len(loc))]
    value, *slopes = gradients(whole)
    assert (slopes[0] != 0).any()
    for one, other in zip((value, *slopes), gradients(cut), strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)


def still(likelihood=None, seed=0):
    """An autoencoder, which has no noise, and data that are read without any."""
    torch.manual_seed(seed)
    data = from_arrays(torch.randn(250, 5), name="rows")
    decoder = Net(Mlp((2,), (8,), (5,), "silu"), likelihood or OptimalSigma(1))
    return VAE(Standard(2), Net(Mlp((5,), (8,), (2,), "silu"), Point(2)), decoder), data


@pytest.mark.parametrize("turns", [2, 3, 20])
def test_turns_make_the_gradient_figures_and_state_of_the_whole_batch(turns):
    trainers = []
    for accumulate in (1, turns):
        model, data = still()
        config = Training(batch_size=20, accumulate=accumulate, clip=1e9)
        trainers.append(Trainer(model, Geco(Distortion(), 3.0) + DipI(), data, config, "float32"))
        trainers[-1].advance()
    one, many = trainers
    assert one.state.flat.grads.abs().max() > 0.01
    assert torch.allclose(one.state.flat.grads, many.state.flat.grads, rtol=1e-4, atol=1e-6)
    assert torch.allclose(one.state.tally.rows[0], many.state.tally.rows[0], equal_nan=True)
    for name, buffer in one.state.buffers.items():  # the multiplier, and the scale of the likelihood
        assert torch.allclose(buffer, many.state.buffers[name], rtol=1e-5), name
    assert float(many.step.objective.terms[0].excess) != 0


class Listening(Part):
    """Keeps which rows its steps were made of."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def update(self, draw):
        self.heard.append(draw.gather(draw.batch.index).tolist())


def test_a_part_moves_once_a_step_and_sees_all_its_rows_in_order(tiny):
    model, data = still()
    model.ear = Listening()
    trainer = Trainer(model, Distortion(), data, Training(batch_size=20, accumulate=3), "float32")
    for _ in range(2):
        trainer.advance()
    assert model.ear.heard == [trainer.feed.positions(step).tolist() for step in range(2)]


def test_codes_follow_all_that_was_quantised(tiny, monkeypatch):
    seen = []
    recipe = unveil.recipes.recipe("vq-vae").given(hidden=(8,), latent=2)
    model, objective = recipe.compose(tiny)
    head = next(part for part in model.modules() if isinstance(part, Quantised))
    monkeypatch.setattr(type(head.alphabet), "follow", lambda book, inputs: seen.append(len(inputs)))
    Trainer(model, objective, tiny, Training(batch_size=20, accumulate=3), "float32").advance()
    assert seen == [20]


def test_a_step_that_is_not_finite_in_one_turn_is_lost_whole():
    model, data = still()
    rows = Trainer(model, Distortion(), data, Training(batch_size=20), "float32").feed.positions(0)
    values = data.train.values.clone()
    values[rows[-1]] = float("inf")
    data = replace(data, train=replace(data.train, values=values))
    trainer = Trainer(model, Distortion(), data, Training(batch_size=20, accumulate=3), "float32")
    before = trainer.state.flat.values.clone()
    trainer.advance()
    assert torch.equal(trainer.state.flat.values, before)
    assert trainer.state.tally.rows[0, -1] == 0
    trainer.advance()
    assert not torch.equal(trainer.state.flat.values, before)


def test_a_foreign_norm_moves_once_a_step_from_where_it_was():
    states = []
    for turns in (1, 2):
        model, data = still()
        model.posterior.network = ranks.Normalising(model.posterior.network)
        trainer = Trainer(model, Distortion(), data, Training(batch_size=20, accumulate=turns), "float32")
        trainer.step.train()
        trainer.advance()
        states.append(model.posterior.network.norm)
    assert int(states[1].num_batches_tracked) == 1
    assert torch.allclose(states[0].running_mean, states[1].running_mean, atol=1e-6)  # a mean of means of equal parts


class Noting(Term):
    """Keeps the values of z."""

    def __init__(self):
        super().__init__()
        self.z = []

    def forward(self, draw, model, t):
        self.z.append(draw.z[0].detach())
        return draw.distortion


def test_every_microbatch_has_noise_of_its_own(tiny):
    data = replace(tiny, train=tiny.train.subset(torch.zeros(40, dtype=torch.long)))  # of rows that are all alike
    model, _ = unveil.recipes.recipe("vae").given(hidden=(8,), latent=2).compose(replace(data, name="alike"))
    noting = Noting()
    trainer = Trainer(model, noting, data, Training(batch_size=40, accumulate=2, seed=5), "float32")
    mean = model.encode(trainer.feed.batch(0).x[:1]).mean
    trainer.advance()
    one, two = noting.z
    assert one.shape == two.shape == (1, 20, 2)
    assert (one - two).abs().min() > 1e-6
    assert not torch.equal(mean, one[0, :1])


class Deaf(Term):
    """Says that it reads across the batch, and does not."""

    couples = True

    def forward(self, draw, model, t):
        return (draw.distortion - draw.distortion.mean()).square()


class Sly(Term):
    """Reads across the batch and does not say so."""

    def forward(self, draw, model, t):
        return draw.distortion - draw.gather(draw.distortion).mean()


@pytest.mark.parametrize(("term", "said"), [(Deaf(), "draw.gather"), (Sly(), "set couples = True")])
def test_a_term_that_would_see_a_part_for_the_whole_is_refused(term, said):
    model, data = still()
    with pytest.raises(SettingError, match=said):
        Trainer(model, term, data, Training(batch_size=20, accumulate=2), "float32").advance()


def test_a_batch_is_cut_into_no_more_parts_than_it_has_examples():
    model, data = still()
    with pytest.raises(SettingError, match="a batch of 3 cannot be cut into 4 microbatches, 1 process times 4"):
        Trainer(model, Distortion(), data, Training(batch_size=3, accumulate=4), "float32")


# several processes


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two processes found, the first's and the second's, and what one found that made every step in two turns."""
    out = tmp_path_factory.mktemp("ranks")
    both = ranks.pair([sys.executable, str(HELPER), str(out / "two"), "1"])
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    alone = {name: value for name, value in os.environ.items() if name != "WORLD_SIZE"}
    subprocess.run([sys.executable, str(HELPER), str(out / "one"), "2"], check=True, env=alone)
    return [json.loads((out / name).read_text()) for name in ("two.0", "two.1", "one.0")]


@pytest.mark.parametrize(("kind", "near"), [("float32", 1e-4), ("float64", 1e-9)])
def test_two_processes_and_two_turns_of_one_give_the_same_curves(found, kind, near):
    first, second, one = (each[kind] for each in found)
    assert first == second  # to the last bit
    assert set(first) == set(one) == {*ranks.RECIPES_TRIED, "all that couple"}
    for name, curve in first.items():
        assert curve == pytest.approx(one[name], rel=near), name
        assert curve[0] != curve[4], name  # it moves


def test_whoever_is_asked_to_stop_all_stop_after_the_same_step(found):
    assert found[0]["stopping"] == found[1]["stopping"]
    steps, by, finished, *_ = found[0]["stopping"]
    assert (steps, by, finished) == (6, "SIGTERM", False)  # asked after 5, told with the next


def test_an_unlike_rank_is_named(found):
    for each in found[:2]:
        assert each["unlike"] == "rank 1 has the data number 1, and rank 0 has number 0; give every rank the same"
        assert each["alike"] == [True, False, True]
        assert each["told"] == {"from": 0}


def test_ranks_that_came_to_differ_end(found):
    for each in found[:2]:
        assert each["drifted"][0].startswith("the processes came to differ in average; a part that moves")
        assert each["drifted"][1] == ""


def test_a_process_by_itself_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr("unveil.training.ranks._joined", None)
    assert join(1.0) is ALONE
    assert torch.equal(ALONE.total(NOW), NOW)
    assert ALONE.tell("word") == "word"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"WORLD_SIZE": "two", "RANK": "0"}, "WORLD_SIZE is 'two'"),
        ({"WORLD_SIZE": "2"}, "RANK is ''"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK is 2 and WORLD_SIZE 2"),
        ({"WORLD_SIZE": "2", "RANK": "1"}, "MASTER_ADDR and MASTER_PORT"),
    ],
)
def test_an_environment_that_says_it_badly_is_refused(monkeypatch, environment, said):
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("unveil.training.ranks._joined", None)
    with pytest.raises(SettingError, match=said):
        join(1.0)


def test_only_training_is_for_several_processes():
    for rank, process in enumerate(ranks.pair([sys.executable, "-m", "unveil", "recipes"])):
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 2
        assert ("`recipes` is for one" in said) == (rank == 0)
        assert said.count("\n") == (rank == 0)


def test_another_number_of_processes_is_told_when_a_run_goes_on(tiny, tmp_path, caplog):
    run = unveil.train(tiny, "vae", out=tmp_path / "run", epochs=1, latent=2)
    assert (run.manifest["ranks"], run.manifest["microbatches"]) == (1, 1)
    folder = unveil.store.RunFolder(run.path)
    preflight.checkpoint(folder, {**run.manifest, "ranks": 4, "microbatches": 8}, folder.checkpoint)
    assert "ranks (of how many processes it is) were 1 and are 4" in caplog.text
    assert "microbatches (in how many parts a step is made) were 1 and are 8" in caplog.text


# two hosts


@pytest.fixture
def hosts():
    """Two network namespaces with a wire between them: the commands that run something in each, and an address."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need the command ip, and root")
    mark = uuid.uuid4().hex[:6]
    names = [f"unveil-{mark}-{place}" for place in "ab"]
    wires = [f"uv{mark}{place}" for place in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", wires[0], "type", "veth", "peer", "name", wires[1])
        for place, (name, wire) in enumerate(zip(names, wires, strict=True)):
            ip("link", "set", wire, "netns", name)
            ip("-n", name, "address", "add", f"10.231.7.{place + 1}/24", "dev", wire)
            ip("-n", name, "link", "set", wire, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield [(["ip", "netns", "exec", name], wire) for name, wire in zip(names, wires, strict=True)]
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces are not permitted here: {error.stderr.strip()}")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
        subprocess.run(["ip", "link", "delete", wires[0]], capture_output=True)


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def test_two_hosts_train_one_model(hosts, tmp_path):
    settings = ["--recipe", "vae", "--latent", "2", "--model.hidden", "16", "--epochs", "1", "--threads", "1"]
    train = [sys.executable, "-m", "unveil", "train", "digits", *settings]
    processes = []
    for rank, (inside, wire) in enumerate(hosts):
        where = {"MASTER_ADDR": "10.231.7.1", "MASTER_PORT": "29500", "WORLD_SIZE": "2", "RANK": str(rank)}
        environment = {**os.environ, **where, "LOCAL_RANK": "0", "GLOO_SOCKET_IFNAME": wire}
        line = [*inside, *train, "--out", str(tmp_path / f"host-{rank}")]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(line, env=environment, **streams))
    said = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert not (tmp_path / "host-1").exists()
    assert said[1] == ("", "")
    run = unveil.open(tmp_path / "host-0")
    assert (run.manifest["ranks"], run.manifest["status"]) == (2, "finished")

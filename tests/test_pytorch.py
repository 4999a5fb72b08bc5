"""At home in PyTorch: the examples of docs/pytorch.md, torch's layers in files, its loaders as data, and plain modules."""

import copy
import json
from collections import OrderedDict

import pytest
import torch
from helpers import blocks
from helpers.runs import linear_model
from torch import nn
from torch.distributions import Independent, Laplace
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

import unveil
from unveil.data import Batch
from unveil.errors import DataError, RunError, SettingError
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.opening import KNOWN
from unveil.parts import Family, Net
from unveil.store import LAYERS, build, describe, fill
from unveil.training.average import state_of
from unveil.training.step import Step

PAGE = blocks.sections("pytorch.md")


def test_the_page_s_examples_do_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = blocks.run(source for heading, source in PAGE.items() if heading != "Lightning")
    assert "±" in capsys.readouterr().out
    assert names["count"] == sum(parameter.numel() for parameter in names["twin"].parameters())
    assert [part.name for part in sorted((tmp_path / "runs").iterdir())] == ["laplace", "sequential", "wide"]


# torch's layers in files

CASES = {
    "Sequential": [nn.Linear(2, 3), nn.ReLU()],
    "Unflatten": [1, (1, 2, 3)],
    "Flatten": [2],
    "Upsample": [None, (2.0, 3.0), "bilinear", True],
    "PixelShuffle": [2],
    "PixelUnshuffle": [2],
    "Bilinear": [2, 3, 4, False],
    "Linear": [3, 2, False],
    "GroupNorm": [2, 4, 1e-3],
    "LayerNorm": [(2, 3), 1e-3, True, False],
    "RMSNorm": [4],
    "PReLU": [3, 0.1],
    "Threshold": [0.1, 20],
    "LeakyReLU": [0.3],
    "GELU": ["tanh"],
    "Softplus": [2, 10],
    "Dropout": [0.3],
    "ConstantPad1d": [1, 0.5],
    "ConstantPad2d": [(1, 2, 3, 4), 0.5],
    "ConstantPad3d": [1, 0.5],
}


def made(name):
    """A layer of that name, with other arguments than the usual ones where it has some."""
    kind = LAYERS[name]
    plain = name.removeprefix("nn.")
    if plain in CASES:
        return kind(*CASES[plain])
    if "Conv" in plain:
        return kind(2, 4, 3, stride=2, padding=1, groups=2, bias=False)
    if "Norm" in plain:
        return kind(3, eps=1e-3, momentum=0.2, affine=True)
    if "MaxPool" in plain or "AvgPool" in plain:
        return kind(2) if "Adaptive" in plain else kind(3, 2, 1)
    return kind(2) if "Pad" in plain else kind()


@pytest.mark.parametrize("name", LAYERS)
def test_each_of_torch_s_layers_comes_back_as_it_was(name):
    torch.manual_seed(0)
    layer = made(name)
    spec = json.loads(json.dumps(describe(part=layer)))
    again = build(spec, KNOWN)["part"]
    assert all(tensor.is_meta for tensor in state_of(again).values())
    fill(again, state_of(layer), "here")
    assert repr(again) == repr(layer)
    assert describe(part=again) == describe(part=layer)
    theirs = state_of(layer)
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in state_of(again).items())
    assert type(again) is type(layer)


def test_a_sequence_keeps_the_names_of_its_layers_and_one_that_stands_in_it_twice():
    shared = nn.Tanh()
    body = nn.Sequential(OrderedDict(first=nn.Linear(3, 3), a=shared, second=nn.Linear(3, 3), b=shared))
    spec = describe(part=body)
    again = build(spec, KNOWN)["part"]
    fill(again, state_of(body), "here")
    assert again.state_dict().keys() == body.state_dict().keys()
    assert again.a is again.b
    assert sum(part["type"] == "nn.Tanh" for part in spec["parts"]) == 1
    x = torch.randn(4, 3)
    assert torch.equal(again(x), body(x))
    assert {"nn.Linear", "nn.Sequential"} == {part["type"] for part in spec["parts"]} - {"nn.Tanh"}


def test_a_class_of_one_s_own_may_be_called_as_one_of_torch_s():
    class Linear(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.size = size

    spec = describe(part=nn.Sequential(nn.Linear(2, 2), Linear(3)))
    with pytest.raises(RunError, match=r"no part 'Linear'.*parts="):
        build(spec, KNOWN)
    again = build(spec, {**KNOWN, "Linear": Linear})["part"]
    assert (type(again[0]), type(again[1])) == (nn.Linear, Linear)


@pytest.mark.parametrize(
    "arguments",
    [
        {"layers": [["a.b", {"part": 0}]]},
        {"layers": [["a", 3]]},
        {"layers": {"a": {"part": 0}}},
        {"layers": [[{"part": 0}]]},
        {},
    ],
)
def test_a_hostile_sequence_is_refused(arguments):
    parts = [{"type": "nn.ReLU", "arguments": {}}, {"type": "nn.Sequential", "arguments": arguments}]
    with pytest.raises(RunError):
        build({"parts": parts, "roots": {"a": 1}}, KNOWN)


def test_layers_that_keep_too_little_are_refused_before_training():
    with pytest.raises(SettingError, match="wrap it in a module of your own"):
        describe(part=nn.Sequential(nn.MultiheadAttention(4, 1)))
    with pytest.raises(SettingError, match="wrap it in a module of your own"):
        describe(part=nn.GRU(4, 2))


# loaders


def items():
    x = torch.randint(0, 256, (40, 1, 6, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return TensorDataset(x, torch.arange(40) % 3)


class Flowing(IterableDataset):
    def __iter__(self):
        return iter(items())


def test_a_loader_stands_for_its_dataset_however_it_makes_batches():
    whole = unveil.load(items()).fingerprint
    same = items()
    generator = torch.Generator().manual_seed(1)
    for loader in (
        DataLoader(same),
        DataLoader(same, batch_size=7, shuffle=True, drop_last=True, num_workers=2, generator=generator),
        DataLoader(same, sampler=SequentialSampler(same), collate_fn=default_collate),
        DataLoader(same, batch_sampler=BatchSampler(RandomSampler(same), 4, drop_last=False)),
        DataLoader(Flowing(), batch_size=5),
    ):
        assert unveil.load(loader).fingerprint == whole
    first = unveil.load(DataLoader(same), rows=20)
    assert first.fingerprint == unveil.load(same, rows=20).fingerprint


def test_loaders_may_be_given_by_split_and_trained_on_as_they_are(tmp_path):
    whole = items()
    train, test = Subset(whole, range(30)), Subset(whole, range(30, 40))
    found = unveil.load({"train": DataLoader(train, shuffle=True), "test": test})
    assert found.fingerprint == unveil.load({"train": train, "test": test}).fingerprint
    run = unveil.train(DataLoader(whole, batch_size=3), epochs=1, batch_size=8, latent=2, out=tmp_path / "run")
    assert run.manifest["data"]["name"] == "TensorDataset"
    assert run.manifest["training"]["batch_size"] == 8


def pad(batch):
    return default_collate(batch)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"collate_fn": pad}, "makes its batches by a collate_fn, pad, that may change what the data are; let the dataset"),
        ({"batch_size": None}, r"has batch_size=None, so that its items may be batches already; give .*: loader\.dataset"),
        (
            {"sampler": SubsetRandomSampler(range(9))},
            r"has a SubsetRandomSampler, .*Subset\(dataset, indices\), or loader\.",
        ),
        ({"sampler": WeightedRandomSampler([1.0] * 40, 40)}, "has a WeightedRandomSampler, which decides what items there"),
        ({"sampler": RandomSampler(range(40))}, "has a RandomSampler"),
        ({"sampler": SequentialSampler(range(9))}, "has a SequentialSampler"),
        ({"sampler": range(9)}, "has a range"),
        ({"batch_sampler": [[0, 1], [5, 6]]}, "has a list"),
        ({"batch_sampler": BatchSampler(SubsetRandomSampler(range(9)), 3, False)}, "has a SubsetRandomSampler"),
    ],
)
def test_a_loader_that_makes_other_data_is_refused_with_what_to_give(settings, said):
    with pytest.raises(DataError, match=f"this DataLoader of TensorDataset {said}"):
        unveil.load(DataLoader(items(), **settings))
    with pytest.raises(DataError, match=said):
        unveil.load({"train": items(), "test": DataLoader(items(), **settings)})


def test_a_random_sampler_that_takes_some_twice_or_not_at_all_is_refused():
    same = items()
    for sampler in (RandomSampler(same, replacement=True), RandomSampler(same, num_samples=50)):
        with pytest.raises(DataError, match="has a RandomSampler, which decides what items there are"):
            unveil.load(DataLoader(same, sampler=sampler))


# ordinary modules


def linear(loc, likelihood=None):
    """A linear model under a Laplace prior of torch's around `loc`, and its objective."""
    model, objective = linear_model()
    prior = Independent(Laplace(torch.full((2,), loc), torch.ones(2)), 1)
    return VAE(prior, model.posterior, likelihood or model.likelihood), objective


def test_a_model_is_a_module_with_weights_by_name_and_moves_and_copies_as_one():
    model, _ = linear(0.0)
    names = {"prior.tensor_0", "prior.tensor_1", "posterior.network.last.weight", "likelihood.head.log_variance"}
    assert names <= set(model.state_dict())
    twin, (other, _) = copy.deepcopy(model), linear(5.0)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    assert not torch.equal(other.sample(3, seed=0), model.sample(3, seed=0))
    other.load_state_dict(model.state_dict())
    for one in (twin, other):
        assert torch.equal(one.sample(3, seed=0), model.sample(3, seed=0))
    moved = copy.deepcopy(model).to("meta")
    assert all(tensor.is_meta for tensor in state_of(moved).values())
    assert moved.prior().base_dist.loc.is_meta


def test_torch_compile_sees_a_step_as_one_graph_that_gives_the_same():
    torch.compiler.reset()
    step = Step(*linear(0.0, Net(Mlp((2,), (8,), (6,)), Family(Laplace))))
    batch, t, graphs = Batch(torch.randn(6, 3), torch.arange(6), 6), torch.tensor(0.0), []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    @torch.compile(fullgraph=True, backend=backend)
    def loss(batch, t):
        losses, _ = step.weigh(step.draw(batch), t)
        return losses["model"]

    found = []
    for compute in (loss, lambda batch, t: step(batch, t)[0]["model"]):
        torch.manual_seed(0)
        found.append(compute(batch, t))
    assert torch.allclose(*found)
    assert len(graphs) == 1
    assert not any(figure.requires_grad for figure in step(batch, t)[1].values())
    found[0].backward()
    assert all(parameter.grad is not None for parameter in step.parameters())

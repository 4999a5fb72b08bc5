"""The noise tape: what is drawn with it is what would have been drawn, from noise that is used once, or it is refused."""

import pytest
import torch
from helpers.exports import run_of, small
from torch import nn
from torch.distributions import Categorical, Gumbel, Normal

from unveil.data import Batch
from unveil.distributions import DiagonalGaussian, Mixture
from unveil.errors import ExportError
from unveil.export.equals import EQUALS
from unveil.export.functions import Function
from unveil.export.tape import Player, Recorder, Tape, plan
from unveil.export.trace import pure, traced
from unveil.parts import AutoregressiveCodes, Codebook


class Model(nn.Module):
    """Something with a parameter."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(2))


def function(draw):
    """A function of noise alone."""

    def call(model, n, tape):
        with tape():
            return (draw(n) + model.shift.sum(),)

    return Function(call, {}, ("x",))


@pytest.mark.parametrize("name", ["vae", "flow-prior", "ladder", "m2"])
def test_a_tape_changes_nothing(name):
    """Under a recorder the model draws what it draws without one, and the weights are those of its own draw."""
    model, found = run_of(name, small()).model, []
    context = torch.eye(2)[torch.arange(5) % 2] if name == "m2" else None
    batch = Batch((torch.rand(5, 1, 6, 5) < 0.5).float(), torch.full((5,), -1), 5)
    for taped in (False, True):
        torch.manual_seed(3)
        with torch.no_grad(), Tape(Recorder()) if taped else torch.no_grad():
            found.append((model.sample(5, context), model.draw(batch).log_w))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


DRAWS = {
    "normal": (lambda n: torch.normal(torch.full((n,), 2.0), 0.5), 2.0, 0.25),
    "in place": (lambda n: torch.empty(n).normal_(1.0, 3.0), 1.0, 9.0),
    "uniform": (lambda n: torch.empty(n).uniform_(-1, 3), 1.0, 16 / 12),
    "exponential": (lambda n: torch.empty(n).exponential_(2.0), 0.5, 0.25),
    "bernoulli": (lambda n: torch.bernoulli(torch.full((n,), 0.3)), 0.3, 0.21),
    "randint": (lambda n: torch.randint(2, 6, (n,)).float(), 3.5, 1.25),
    "multinomial": (lambda n: torch.multinomial(torch.tensor([[1.0, 0, 3]]).expand(n, 3), 1)[:, 0].float(), 1.5, 0.75),
    "many of one": (lambda n: torch.multinomial(torch.tensor([1.0, 0, 3]), n, True).float(), 1.5, 0.75),
    "categorical": (lambda n: Categorical(torch.tensor([0.25, 0.75]).expand(n, 2)).sample().float(), 0.75, 0.1875),
    "gumbel": (lambda n: Gumbel(torch.zeros(n), 1.0).sample(), 0.5772157, 1.644934),
    "torch's own": (lambda n: Normal(torch.zeros(n) + 1, 2.0).rsample(), 1.0, 4.0),
    "mixture": (
        lambda n: Mixture(
            torch.tensor([0.25, 0.75]).log(), DiagonalGaussian(torch.tensor([[-3.0], [1.0]]), torch.zeros(1))
        ).sample((n,))[:, 0],
        0.0,
        4.0,
    ),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_of_a_tape_have_the_law_that_was_asked_for(name):
    """Mean and variance of 40,000: a false alarm in 2 * 12 * P(|z| > 4.5) = 2e-4 of other seeds."""
    draw, mean, variance = DRAWS[name]
    module = pure(Model(), function(draw))
    torch.manual_seed(0)
    noise = [torch.randn(40_000, module.columns[k]) if k == "normal" else torch.rand(40_000, 1) for k in module.kinds]
    x = module(*noise)[0].double().detach()
    assert len(x.unique()) > 1
    for found, exact in ((x, mean), ((x - mean) ** 2, variance)):
        assert abs(found.mean() - exact) < 4.5 * found.std() / 200


def rejecting(n):
    x = torch.randn(n)
    while (x.abs() > 1).any():
        x = torch.randn(n)
    return x


REFUSED = {
    "Gamma": (lambda n: torch._standard_gamma(torch.ones(n)), "rejection from a Gamma law"),
    "permutation": (lambda n: torch.randperm(n).float(), "a permutation"),
    "until content": (rejecting, "until it is content|others each time|not so many a row"),
    "the same for all": (lambda n: torch.randn(4) + torch.zeros(n, 1), "not so many a row"),
    "a square": (lambda n: torch.randn(n, n).sum(1), "not so many a row"),
    "without putting back": (lambda n: torch.multinomial(torch.ones(n, 3), 2), "without putting them back"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_tape_holds_is_refused_in_one_line(name):
    draw, said = REFUSED[name]
    torch.manual_seed(0)
    with pytest.raises(ExportError, match=said) as caught:
        pure(Model(), function(draw))
    assert "\n" not in str(caught.value)


def test_code_that_reads_the_number_of_rows_is_named():
    with pytest.raises(ExportError, match=r"take x.shape\[0\] for len\(x\)"):
        traced(pure(Model(), function(lambda n: torch.stack([row for row in torch.randn(n, 2)]) * len(torch.zeros(n)))))


def test_noise_is_used_once_and_all_of_it():
    one, two = Recorder(), Recorder()
    for recorder, n in ((one, 3), (two, 5)):
        with Tape(recorder):
            torch.randn(1, n, 2), torch.rand(n * 4), torch.randn(2, n)
    takes = plan(one, two, (3, 5))
    assert [(take.kind, take.start, take.columns) for take in takes] == [
        ("normal", 0, 2),
        ("uniform", 0, 4),
        ("normal", 2, 2),
    ]
    noise = {"normal": torch.arange(28.0).reshape(7, 4), "uniform": torch.arange(28.0).reshape(7, 4)}
    with Tape(Player(takes, noise)):
        first, second, third = torch.randn(1, 7, 2), torch.rand(28), torch.randn(2, 7)
        with pytest.raises(ExportError, match="others each time"):
            torch.randn(7)
    assert sorted(torch.cat([first.flatten(), third.flatten()]).tolist()) == list(range(28))
    assert sorted(second.tolist()) == list(range(28))
    assert first[0, 3].tolist() == noise["normal"][3, :2].tolist()  # a row has its own


def test_a_loop_is_in_a_graph_once():
    """However many codes a prior writes one by one, its graph has one step."""
    sizes = []
    for places in (2, 5):
        written = AutoregressiveCodes(Codebook(4, 2), places, width=4, layers=1)
        call = Function(lambda model, n, tape: _under(tape, lambda: model().sample((n,))), {}, ("z",))
        sizes.append(len(traced(pure(written, call)).program.graph.nodes))
    assert sizes[0] == sizes[1]


def _under(tape, draw):
    with tape():
        return (draw(),)


@pytest.mark.parametrize(
    ("original", "low", "high"),
    [
        (torch.log1p, -1 + 1e-6, 1e3),
        (torch.expm1, -50.0, 50.0),
        (torch.atanh, -1 + 1e-6, 1 - 1e-6),
        (torch.asin, -1.0, 1.0),
        (torch.lgamma, 1e-4, 1e4),
        (torch.nn.functional.logsigmoid, -300.0, 300.0),
    ],
)
def test_equals_are_equal(original, low, high):
    x = torch.cat([torch.linspace(low, high, 10_001), torch.tensor([low, high])])
    x = torch.cat([x, x * 1e-3, x * 1e-6]).clamp(low, high)
    exact = original(x.double())
    assert ((EQUALS[original](x) - exact).abs() <= 1e-6 * exact.abs() + 1e-9).all()

"""One test for every part: each case of tests/cases is held to the same."""

import importlib
import pkgutil
from dataclasses import replace
from pathlib import Path

import cases
import pytest
import torch
from torch import Tensor, nn

from unveil.data import Batch
from unveil.objectives import MODEL
from unveil.opening import KNOWN
from unveil.store import build, describe, fill
from unveil.training.average import state_of

MODULES = [
    importlib.import_module(f"cases.{module.name}")
    for module in pkgutil.iter_modules([str(Path(cases.__file__).parent)])
    if module.name != "case"
]
CASES = [case for module in MODULES for case in getattr(module, "CASES", [])]
DENSITIES = [density for module in MODULES for density in getattr(module, "DENSITIES", [])]
B = 6


class Own(nn.Module):
    """A user's own part, saved and loaded beside every other."""

    def __init__(self, size):
        super().__init__()
        self.size, self.weight = size, nn.Parameter(torch.ones(size))


def composed(case, tiny, seed=0):
    data = case.data() if case.data else tiny
    torch.manual_seed(seed)
    model, objective = case.compose(data)
    return data, model, objective


def batch_of(model, data, size=B):
    """A batch with the context that the model takes, if any."""
    for seen in (data, data.given_labels()) if data.train.labels is not None else (data,):
        batch = next(seen.train.batches(size, 0))
        try:
            with torch.random.fork_rng():
                model.draw(batch)
            return batch
        except Exception as error:
            last = error
    raise last


def losses(model, objective, batch, seed=0):
    torch.manual_seed(seed)
    draw = model.draw(batch, objective.samples or 1, objective.gradient or "pathwise")
    loss = objective(draw, model, torch.tensor(3.0))
    return draw, {MODEL: loss} if isinstance(loss, Tensor) else dict(loss)


def ids(cases):
    return [case.name for case in cases]


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_shapes_are_as_stated_and_a_forward_pass_changes_no_state(case, tiny):
    data, model, objective = composed(case, tiny)
    batch = batch_of(model, data)
    before = {name: value.clone() for name, value in state_of(nn.ModuleList([model, objective])).items()}
    draw, loss = losses(model, objective, batch)
    k = len(draw.log_px)
    assert draw.log_px.shape == draw.log_mass.shape == (k, B)
    assert all(z.shape[:2] == (k, B) for z in draw.z)
    assert torch.allclose(draw.log_mass.exp().sum(0), torch.ones(B), atol=1e-5)
    if draw.rated:
        assert all(part.shape == (k, B) for part in (*draw.log_q, *draw.log_p, *draw.kl))
        assert draw.rate.isfinite().all()
    for one in loss.values():
        assert one.shape == (B,)
        assert one.isfinite().all()
    after = state_of(nn.ModuleList([model, objective]))
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("factor", [1.0, 100.0])
@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_losses_and_gradients_are_finite_even_from_absurd_weights(case, factor, tiny):
    data, model, objective = composed(case, tiny)
    batch = batch_of(model, data)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(factor)
    _, loss = losses(model, objective, batch)
    parameters = [p for p in [*model.parameters(), *objective.parameters()] if p.requires_grad]
    for one in loss.values():
        assert one.isfinite().all()
        gradients = torch.autograd.grad(one.sum(), parameters, retain_graph=True, allow_unused=True)
        assert any(gradient is not None for gradient in gradients)
        assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_an_example_s_loss_depends_on_other_examples_only_where_it_says_so(case, tiny):
    data, model, objective = composed(case, tiny)
    batch = batch_of(model, data)
    x = batch.x.clone().requires_grad_()
    _, loss = losses(model, objective, replace(batch, x=x))
    (gradient,) = torch.autograd.grad(loss[MODEL][0], x)
    assert gradient[0].abs().sum() > 0
    crosses = bool(gradient[1:].abs().sum() > 0)
    assert crosses == case.couples == objective.couples


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_a_part_comes_back_from_its_saved_form_beside_a_user_s_own(case, tiny):
    data, model, objective = composed(case, tiny)
    batch = batch_of(model, data)
    own = Own(3)
    spec = describe(model=model, objective=objective, own=own)
    made = build(spec, {**KNOWN, "Own": Own})
    both = nn.ModuleDict(made)
    fill(both, state_of(nn.ModuleDict({"model": model, "objective": objective, "own": own})), "here")
    assert describe(**made) == spec
    assert torch.equal(both["own"].weight, own.weight)
    for kind in (lambda m, o: losses(m, o, batch)[1][MODEL], lambda m, o: m.sample(3, context(batch), seed=0)):
        assert torch.equal(kind(made["model"], made["objective"]), kind(model, objective))


def context(batch: Batch):
    return None if batch.context is None else batch.context[:3]


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_samples_have_the_shape_of_the_data_and_a_seed_tells_them(case, tiny):
    data, model, _ = composed(case, tiny)
    given = context(batch_of(model, data))
    x = model.sample(3, given, seed=1)
    assert x.shape == (3, *data.space.shape)
    assert x.isfinite().all()
    assert torch.equal(x, model.sample(3, given, seed=1))


@pytest.mark.parametrize("case", DENSITIES, ids=ids(DENSITIES))
def test_samples_follow_their_density(case):
    """A z-score of 4.5 raises a false alarm once in 150,000 fixed seeds."""
    torch.manual_seed(0)
    p, r, n = case.make(), case.reference(), 40_000
    with torch.no_grad():
        x = p.sample(torch.Size([n]))
        ratio = (r.log_prob(x) - p.log_prob(x)).double().exp()
    assert ratio.isfinite().all()
    assert abs(ratio.mean() - 1) < 4.5 * ratio.std() / n**0.5 + 1e-6
    assert 0 < ratio.std() < 20  # or the identity would say little

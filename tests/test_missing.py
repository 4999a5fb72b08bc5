"""Tables with gaps: nats are of what is known, whoever computes them, and the encoder sees where the gaps are."""

from math import log

import pytest
import torch
from cases.likelihoods import KINDS, numbers
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal

import unveil
from unveil.data import Feed, LinearGaussian, from_arrays
from unveil.errors import DataError, SettingError
from unveil.evaluation import evaluate
from unveil.evaluation.anomaly.surprise import surprise
from unveil.evaluation.likelihood.annealed import annealed
from unveil.evaluation.likelihood.quadrature import quadrature
from unveil.generation import impute
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Rate, Term
from unveil.part import Part
from unveil.parts import Columns, Gaussian, Net, Standard, Tabular
from unveil.parts.heads import BOUND
from unveil.parts.tabular import width
from unveil.preflight import check
from unveil.recipes import recipe

TRUTH = LinearGaussian.draw(5, 2)
GAP = float("nan")


def holes(x, share=0.3, seed=0):
    """x with some of its entries unknown, one row with none known among them."""
    lost = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < share
    lost[0] = True
    return torch.where(lost, GAP, x)


def exact(x):
    """(N,) log p(x_observed) of the linear-Gaussian truth, float64."""
    found = []
    for row in x:
        seen = ~row.isnan()
        if not seen.any():
            found.append(torch.zeros((), dtype=torch.float64))
            continue
        p = MultivariateNormal(TRUTH.marginal.mean[seen], TRUTH.marginal.covariance_matrix[seen][:, seen])
        found.append(p.log_prob(row[seen].double()))
    return torch.stack(found)


class Posterior(Part):
    """p(z|x_observed), its covariance widened by `wide` squared and its mean off by `off` in each dimension."""

    def __init__(self, wide=1.0, off=0.0):
        super().__init__()
        self.wide, self.off = wide, off

    def forward(self, given=None, context=None, leading=1):
        weight, seen = TRUTH.weight.double(), (~given.isnan()).double()
        off = torch.nan_to_num(given).double() - TRUTH.bias * seen
        precision = torch.eye(2) + torch.einsum("bi,ij,ik->bjk", seen, weight, weight) / TRUTH.scale**2
        covariance = torch.linalg.inv(precision)
        mean = torch.einsum("bjk,ik,bi->bj", covariance, weight, off) / TRUTH.scale**2
        return MultivariateNormal(mean.float() + self.off, (self.wide**2 * covariance).float())


class Decoder(nn.Module):
    """z to the parameters of columns that are W z + b with noise, in units of `head`."""

    def __init__(self, head):
        super().__init__()
        self.loc, self.scale = head.loc, head.scale
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, z):
        mean = (z @ TRUTH.weight.T + TRUTH.bias - self.loc) / self.scale
        log_scale = (TRUTH.scale / self.scale).log()
        raw = BOUND / 2 * torch.atanh(log_scale / (BOUND / 2))
        return torch.cat([mean, raw.expand_as(mean)], -1)


def linear(x, wide=1.0, off=0.0):
    head = Columns(["real"] * 5).fit(x)
    return VAE(Standard(2), Posterior(wide, off), Net(Decoder(head), head))


def table(x):
    return from_arrays(x, columns=["real"] * 5, name="holes")


@pytest.fixture(scope="module")
def split():
    whole = table(holes(TRUTH.sample(300))).whole()
    return whole.subset(torch.arange(60))


def test_every_weight_is_the_evidence_of_what_is_known(split):
    model, truth = linear(split.values), exact(split.values)
    batch = next(split.batches(60, 0))
    draw = model.draw(batch, 7)
    assert torch.equal(batch.observed, ~split.values.isnan())
    assert torch.allclose(draw.log_w.double(), truth.expand(7, -1), atol=1e-4)
    assert torch.allclose(model.log_joint(batch, draw.z[0]) - draw.log_q[0], draw.log_w, atol=1e-4)
    assert draw.log_w[:, 0].abs().max() < 1e-5  # nothing is known of it


def test_evaluation_is_unbiased_for_what_is_known(split):
    found = evaluate(linear(split.values, 1.2), split, samples=4_000).values["nll"]
    gap = (-found.double() - exact(split.values))[1:]
    # a log of a mean of 4,000 weights falls short by about 1e-4, and its error is about 0.01
    assert gap.abs().max() < 0.1
    assert abs(gap.mean()) < 4 * gap.std() / len(gap) ** 0.5 + 1e-3


def test_quadrature_and_annealing_meet_it_too(split):
    model, truth = linear(split.values, 1.2), exact(split.values)
    by_grid = quadrature(model, split).values
    assert (by_grid + truth).abs().max() < 2e-3
    some = split.subset(torch.arange(8))
    by_annealing = annealed(model, some, images=None, temperatures=100, chains=8)
    gap = by_annealing.nll.value + float(truth[:8].mean())
    assert abs(gap) < 5 * by_annealing.nll.estimator + 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_entry_of_any_kind_adds_nothing_and_pulls_at_nothing(kind):
    torch.manual_seed(0)
    x = numbers("columns", KINDS)().train.values[:6]
    head = Columns(KINDS).fit(x)
    place, raw = KINDS.index(kind), torch.randn(4, 6, *head.needs((7,)), requires_grad=True)
    known = head(raw).log_probs(x)
    cut = x.clone()
    cut[:, place] = GAP
    found = head(raw)
    expected = known.clone()
    expected[..., place] = 0
    assert torch.equal(found.log_probs(cut), expected)
    (lost,) = torch.autograd.grad(found.log_prob(cut).sum(), raw)
    (kept,) = torch.autograd.grad(expected.sum(), raw)
    assert torch.equal(lost, kept)


@pytest.mark.parametrize("unit", [1e30, 1e-30])
def test_a_gap_far_from_the_others_leaves_the_gradient_finite(unit):
    x = torch.tensor([[1.0 * unit, 1.0], [1.1 * unit, GAP], [GAP, 2.0]])
    head = Columns(["real", "real"]).fit(x)
    raw = torch.zeros(3, 4, requires_grad=True)
    nats = head(raw).log_prob(x)
    (gradient,) = torch.autograd.grad(nats.sum(), raw)
    assert nats.isfinite().all()
    assert gradient.isfinite().all()


def test_gaps_travel_with_their_rows():
    x = holes(TRUTH.sample(300))
    data = table(x)
    where = {row: set(x[row].isnan().nonzero().flatten().tolist()) for row in range(300)}

    def found(values, rows):
        return {row: set(one.isnan().nonzero().flatten().tolist()) for row, one in zip(rows.tolist(), values, strict=True)}

    whole = data.whole()
    assert found(whole.values, whole.rows) == where
    feed = Feed(data.train, 50, 0, torch.device("cpu"))
    batch = feed.batch(1)
    seen = found(batch.x, data.train.rows[batch.index])
    assert seen == {row: where[row] for row in seen}
    assert data.train.gaps
    filled = torch.nan_to_num(data.train.values)
    known = ~data.train.values.isnan()
    assert torch.allclose(data.train.mean(), filled.sum(0) / known.sum(0), atol=1e-5)
    assert data.fingerprint != table(torch.nan_to_num(x)).fingerprint


def test_the_encoder_sees_the_mean_and_the_place_of_a_gap():
    x = holes(numbers("columns", KINDS)().train.values, 0.2)
    seen = []

    class Ear(nn.Module):
        def forward(self, given):
            seen.append(given)
            return given

    network = Tabular(Ear(), KINDS, gaps=[0, 4]).fit(x)
    network(x)
    (numbers_seen,) = seen
    assert numbers_seen.shape == (len(x), width(KINDS, [0, 4]))
    assert numbers_seen.isfinite().all()
    assert torch.equal(numbers_seen[:, -2:], x[:, [0, 4]].isnan().float())
    real, count = numbers_seen[:, 0], numbers_seen[:, 1]
    for column, one in ((0, real), (1, count)):
        known = ~x[:, column].isnan()
        assert one[~known].abs().max() == 0
        assert one[known].mean().abs() < 1e-5
        assert abs(one[known].std(correction=0) - 1) < 1e-5
    assert torch.allclose(
        (count * network.scale[1] + network.loc[1]).expm1(),
        torch.where(x[:, 1].isnan(), count.new_tensor(float(network.loc[1].expm1())), x[:, 1]),
        atol=1e-4,
    )
    # classes: a number for each, and a step from one class to the next moves 1 from here to there
    classes = numbers_seen[:, 4:7] + network.loc[4:7]
    known = ~x[:, 4].isnan()
    assert torch.allclose(classes[known], nn.functional.one_hot(x[known, 4].long(), 3).float(), atol=1e-6)
    assert torch.allclose(network.loc[4:7].sum(), torch.tensor(1.0))


def test_complete_tables_give_the_encoder_no_places():
    data = numbers("columns", KINDS)()
    model, _ = recipe("vae").compose(data)
    assert model.posterior.network.gaps == ()
    assert not data.train.gaps


def trained_nats(data):
    """(n,) nats of test rows after a few steps by one seed."""
    torch.manual_seed(0)
    model, objective = recipe("vae").given(latent=2, hidden=(8,)).compose(data)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    feed = Feed(data.train, 50, 0, torch.device("cpu"))
    for step in range(20):
        torch.manual_seed(step)
        loss = objective(model.draw(feed.batch(step)), model, torch.tensor(9.0)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return evaluate(model, data.test, samples=3).values["nll"].double()


def test_another_unit_shifts_the_nats_by_its_logarithm_and_nothing_else():
    """Powers of two, so that nothing is rounded: the same seed gives the same run bit for bit."""
    x = holes(TRUTH.sample(400), 0.2)
    x[:, 4] = x[:, 4].exp()
    kinds = ["real", "real", "real", "real", "positive"]
    unit = torch.tensor([1024.0, 1.0, 2**-20, 1.0, 1.0])
    data = from_arrays(x, columns=kinds)
    nats = [trained_nats(one) for one in (data, from_arrays(x * unit, columns=kinds))]
    shift = (~data.test.values.isnan()).double() @ unit.double().log()
    assert (nats[1] - nats[0] - shift).abs().max() < 2e-5
    assert shift.abs().max() > 5


def test_another_unit_of_an_array_shifts_the_nats_likewise():
    x = TRUTH.sample(400)
    nats = [trained_nats(from_arrays(values)) for values in (x, 1024 * x)]
    assert (nats[1] - nats[0] - 5 * log(1024)).abs().max() < 2e-5


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
@pytest.mark.parametrize("columns", [["real"] * 3, None])
def test_real_numbers_of_any_unit_are_learned(scale, columns):
    """As a table and as an array: independent entries of scale s cost log(s sqrt(2 pi e)) each, and (x / 1)² unscaled."""
    source = torch.Generator().manual_seed(0)
    x = scale * (5 + torch.randn(400, 3, generator=source))
    data = from_arrays(x, columns=columns)
    torch.manual_seed(0)
    model, _ = recipe("vae").compose(data)
    batch = next(data.test.batches(40, 0))
    nats = -model.draw(batch).log_px.detach().mean() / 3
    assert abs(float(nats) - log(scale) - 1.42) < 0.3


def test_gradients_of_an_encoder_are_finite_at_gaps_and_far_out():
    kinds = ("real", "positive", "count", "categorical:3")
    network = Tabular(Mlp((width(kinds, [0, 1, 2, 3]),), (4,), (2,)), kinds, [0, 1, 2, 3])
    x = torch.tensor([[GAP, GAP, GAP, GAP], [3e38, 1e-38, 1e7, 2.0]])
    network(x).sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_arrays_have_gaps_only_where_they_are_a_table():
    x = holes(TRUTH.sample(100))
    with pytest.raises(DataError, match="not finite"):
        from_arrays(x)
    with pytest.raises(DataError, match="not finite"):
        from_arrays(torch.where(x.isnan(), torch.inf, x), columns=["real"] * 5)
    assert table(x).train.gaps


class Blunt(nn.Module):
    """An encoder that knows nothing of gaps."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 4)

    def forward(self, x):
        return self.layer(x)


class Square(Term):
    """A term that reads x as if all were known."""

    def forward(self, draw, model, t):
        return draw.batch.x.square().sum(1) + draw.distortion


def test_what_cannot_read_gaps_is_refused_before_the_first_step(tmp_path):
    x = holes(TRUTH.sample(200))
    data, whole = table(x), table(torch.nan_to_num(x))
    head = Columns(["real"] * 5).fit(x)
    blunt = VAE(Standard(2), Net(Blunt(), Gaussian(2)), Net(Mlp((2,), (), (10,)), head))
    with pytest.raises(SettingError, match="VAE reads x as if all of it were known"):
        unveil.train(data, model=blunt, objective=Distortion() + Rate(), out=tmp_path / "a", epochs=1)
    check(blunt, whole, Distortion() + Rate())
    model, _ = recipe("vae").given(hidden=(4,)).compose(data)
    with pytest.raises(SettingError, match="the objective reads x as if all of it were known"):
        unveil.train(data, model=model, objective=Square() + Rate(), out=tmp_path / "b", epochs=1)
    with pytest.raises(SettingError, match="vae-gan's critic"):
        unveil.train(data, "vae-gan", out=tmp_path / "c", epochs=1)


@pytest.mark.parametrize("name", ["vae", "iwae", "vamp", "exemplar", "ladder", "vq-vae", "hvae", "factor-vae", "aae"])
def test_recipes_train_on_gaps(name, tmp_path):
    data = table(holes(TRUTH.sample(200)))
    run = unveil.train(data, recipe(name).given(latent=2, hidden=(8,)), out=tmp_path / "run", epochs=1, batch_size=80)
    assert all(record["skipped"] == 0 for record in run.metrics())
    again = unveil.open(tmp_path / "run")
    assert all(value.isfinite().all() for value in again.model.parameters())
    draw = again.model.draw(next(data.test.batches(10, 0)))
    assert draw.log_px.isfinite().all()


def test_surprise_is_of_what_is_known(split):
    found = surprise(linear(split.values), split, samples=5)
    gaps = split.values.isnan()
    assert found.cost[gaps].abs().max() == found.expected[gaps].abs().max() == 0
    assert (found.cost[~gaps] != 0).all()


def test_gaps_are_filled_by_the_closed_form_conditional_mean(split):
    """Though the draws are off: a mean over 20,000 of them, a quarter effective, errs by about 1 % of what varies."""
    found = impute(linear(split.values, 1.3, 0.3), split, samples=20_000)
    mean, covariance = TRUTH.marginal.mean, TRUTH.marginal.covariance_matrix
    apart = []
    for row, filled in zip(split.values, found.x, strict=True):
        seen = ~row.isnan()
        assert torch.equal(filled[seen], row[seen])
        gain = covariance[~seen][:, seen] @ torch.linalg.inv(covariance[seen][:, seen])
        apart.append(filled[~seen] - mean[~seen] - gain @ (row[seen].double() - mean[seen]))
    assert torch.cat(apart).abs().max() < 0.06
    assert torch.cat(apart).abs().mean() < 0.015
    assert (found.ess > 1_000).all()
    again = impute(linear(split.values, 1.3, 0.3), split, samples=20_000)
    assert torch.equal(found.x, again.x)


def test_a_categorical_gap_is_filled_by_the_class_that_is_most_probable_over_all_draws():
    """p(c|z) is peaked at 0 or at 2, by the sign of z, and next to that at 1: the mean of the modes would say 1."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(()))

        def forward(self, z):
            high = (z > -0.3).float()
            return torch.cat([torch.zeros(len(z), 2), 4 * (1 - high), 0 * high, 4 * high], 1)

    class Prior(Part):
        def forward(self, given=None, context=None, leading=1):
            return Independent(Normal(torch.zeros(len(given), 1), torch.ones(len(given), 1)), 1)

    head = Columns(["real", "categorical:3"])
    model = VAE(Standard(1), Prior(), Net(Two(), head))
    data = from_arrays(torch.tensor([[0.5, GAP], [0.5, 1.0], [GAP, 0.0]] * 4), columns=head.kinds)
    found = impute(model, data.whole(), samples=500)
    assert found.x[:3, 1].tolist() == [2, 1, 0]
    assert found.x[2, 0].abs() < 1e-5
    with pytest.raises(SettingError, match="at least 1"):
        impute(model, data.whole(), samples=0)


def test_what_has_no_weights_or_no_columns_fills_no_gaps(tiny):
    data = table(holes(TRUTH.sample(100)))
    model, _ = recipe("aae").given(latent=2, hidden=(4,)).compose(data)
    with pytest.raises(SettingError, match="no weights to fill gaps by"):
        impute(model, data.whole())
    model, _ = recipe("vae").given(latent=2, hidden=(4,)).compose(tiny)
    with pytest.raises(SettingError, match="in tables alone"):
        impute(model, tiny.whole())

"""The audit of memory: copies are caught, new data are not, and how often that is wrong is what it says."""

import json
from dataclasses import replace
from itertools import combinations
from math import comb

import pytest
import torch

from unveil.data import Binarise, LinearGaussian, from_arrays
from unveil.errors import SettingError
from unveil.evaluation.samples.chances import below, chance_below, chance_more, chance_repeated, distinct
from unveil.evaluation.samples.memory import ALARM, WORST, memory
from unveil.evaluation.samples.nearest import nearest, nearest_other
from unveil.randomness import generator


class Sampler:
    """A model that gives x by a function of n and seed."""

    def __init__(self, make):
        self.make = make

    def sample(self, n, context=None, seed=None, mean=False):
        return self.make(n, seed)


def blobs(n, seed):
    """Gray 12x12 images of four bright spots anywhere, sharp but for their edges."""
    source = torch.Generator().manual_seed(seed)
    place = 12 * torch.rand(n, 4, 2, 1, 1, generator=source)
    size = 1 + torch.rand(n, 4, 1, 1, generator=source)
    rows, columns = torch.arange(12).view(1, 1, 12, 1), torch.arange(12).view(1, 1, 1, 12)
    far = ((rows - place[:, :, 0]).square() + (columns - place[:, :, 1]).square()).sqrt()
    return (255 * torch.sigmoid(6 * (size - far)).amax(1)).to(torch.uint8).unsqueeze(1)


def read(values, seed):
    return Binarise()(values, generator(seed, "fresh"))


@pytest.fixture(scope="module")
def data():
    return from_arrays(blobs(5_000, 0), name="blobs")


def fresh(n, seed):
    return read(blobs(n, 1_000 + seed), seed)


def replaying(data, share):
    """A model of which a share of the samples are training images with new noise, and the rest are new blobs."""

    def make(n, seed):
        copies = int(share * n)
        which = torch.randint(0, len(data.train), (copies,), generator=generator(seed, "which"))
        x = read(data.train.values[which], seed + 1)
        return x if copies == n else torch.cat([x, fresh(n - copies, seed)])

    return Sampler(make)


def test_nearest_neighbours_are_those_of_loops_over_all_pairs(monkeypatch):
    x, others = torch.randn(23, 2, 3, generator=generator("x")), torch.randn(31, 2, 3, generator=generator("y"))
    squares = (x.double().unsqueeze(1) - others.double()).square().sum((2, 3))
    for rows, columns in ((500, 20_000), (7, 11), (5, 4)):
        monkeypatch.setattr("unveil.evaluation.samples.nearest.ROWS", rows)
        monkeypatch.setattr("unveil.evaluation.samples.nearest.COLUMNS", columns)
        distances, places = nearest(x, others)
        exact = squares.sort(1)
        assert torch.equal(places, exact.indices[:, :2])
        assert torch.allclose(distances, exact.values[:, :2], atol=1e-12)
        among = (x.double().unsqueeze(1) - x.double()).square().sum((2, 3)).fill_diagonal_(torch.inf)
        assert torch.allclose(nearest_other(x), among.min(1).values, atol=1e-12)


def test_equal_ones_are_at_no_distance_however_far_out_they_lie():
    x = 1e4 + torch.randn(20, 5, generator=generator("far"))
    assert nearest(x, x.flip(0))[0][:, 0].max() == 0
    assert nearest_other(torch.cat([x, x[:1]]))[[0, 20]].tolist() == [0, 0]
    assert nearest_other(x).min() > 0


def test_the_share_below_is_that_of_held_out_data_whatever_ties_there_are():
    held = torch.tensor([1, 2, 2, 2, 3] * 40, dtype=torch.float64)  # 1 % of 200 is 2 of the 40 ones
    threshold, count = below(torch.tensor([0, 1, 1, 2, 3], dtype=torch.float64), held, 0.01)
    assert (threshold, count) == (1, pytest.approx(1 + 2 * 2 / 40))
    assert below(held, held, 0.01)[1] == pytest.approx(2)
    apart = torch.arange(300, dtype=torch.float64)
    assert below(torch.tensor([1.5, 2.0, 2.5, -1.0]).double(), apart, 0.01) == (2, pytest.approx(3))


@pytest.mark.parametrize(("n", "count"), [(100, 1), (200, 5), (300, 0)])
def test_the_chance_is_that_of_a_random_order(n, count):
    # of n new ones and n held-out ones in a random order, at least `count` new ones come before the r-th held-out one
    r = n // 100
    before = [comb(r - 1 + j, j) * comb(n - r + n - j, n - j) / comb(2 * n, n) for j in range(count)]
    assert chance_below(count, n, 0.01) == pytest.approx(1 - sum(before), rel=1e-9)


def test_a_model_that_replays_training_images_with_new_noise_is_caught(data):
    found = memory(replaying(data, 1.0), data)
    assert found.near.value > 0.3
    assert found.copied.value > 0.6
    assert max(found.near_chance, found.copied_chance) < 1e-12
    assert found.median.value < found.held_median.value - 10 * found.held_median.stderr
    assert any("as if they were copies" in line for line in found.advice())


def test_copies_of_mnist_are_told_by_standing_out_where_their_noise_hides_them_among_their_kind(mnist):
    part = mnist.train.subset(torch.arange(8_000))
    found = memory(replaying(replace(mnist, train=part), 1.0), replace(mnist, train=part), n=300)
    assert found.near.value < 0.2
    assert found.copied.value > 0.6
    assert found.copied_chance < 1e-12
    new = Sampler(lambda n, seed: read(mnist.validation.values[:n], seed))
    assert memory(new, replace(mnist, train=part), n=300).advice() == []


def test_twins_at_no_distance_do_not_stand_out_where_held_out_data_have_them_too():
    values = torch.randn(300, 3, generator=generator("twins")).repeat(10, 1)
    data = from_arrays(values, name="twins")
    found = memory(Sampler(lambda n, seed: values[:n].clone()), data)
    assert found.median.value == 0
    assert (found.exact.value, found.held_exact.value, found.exact_chance) == (1, 1, 1)
    assert found.distinct == 300
    assert not any("cop" in line for line in found.advice())


def test_exact_copies_of_a_training_set_with_each_row_twice_are_named():
    values = torch.randn(2_000, 20, generator=generator("rows"))
    data = from_arrays(values, name="rows")
    twice = replace(data, train=data.train.subset(torch.arange(len(data.train)).repeat(2)))
    found = memory(Sampler(lambda n, seed: twice.train.values[100 : 100 + n].clone()), twice)
    assert (found.training, found.distinct) == (3_200, 1_600)
    assert (found.exact.value, found.held_exact.value) == (1, 0)
    assert found.copied.value == 1
    assert "100.0% of the samples are equal to a training example" in found.advice()[0]
    assert "are copies" in found.advice()[0]
    assert "1,600 of them distinct" in dict(found.table())["examples"]
    for pair in found.worst:
        assert torch.equal(twice.train.values[pair.position], twice.train.values[100 + pair.sample])


def test_one_exact_copy_in_a_hundred_among_poor_samples_is_named_and_comes_first():
    values = torch.randn(16_000, 8, generator=generator("rows"))
    data = from_arrays(values, name="rows")

    def poor(n, seed):
        x = 30 * torch.randn(n, 8, generator=generator(seed))
        x[500 : 500 + n // 100] = data.train.values[: n // 100]
        return x

    found = memory(Sampler(poor), data)
    assert (found.n, found.exact.value) == (1_600, 0.01)
    assert found.exact_chance < ALARM < min(found.near_chance, found.copied_chance)
    assert "are equal to a training example" in found.advice()[0]
    assert all(pair.distance == 0 and pair.position == pair.sample - 500 for pair in found.worst)
    # what is not seen is said: 9 of 1,600 bit by bit, and more with noise
    assert found.unseen_exact == 9 / 1_600
    assert 0.01 < found.unseen < 0.03
    assert chance_below(found.unseen * 1_600, 1_600, 0.01) >= ALARM > chance_below(found.unseen * 1_600 + 1, 1_600, 0.01)


def test_copies_of_two_images_that_are_read_alike_come_first_though_neither_stands_out():
    bits = (torch.rand(1_000, 1, 1, 30, generator=generator("bits")) < 0.5).to(torch.uint8)
    data = from_arrays(torch.cat([255 * bits, 254 * bits + 1]), name="alike")  # black as 0 and as 1: as good as the same
    known = data.train.fixed(0)
    twins = (torch.cdist(known.flatten(1), known.flatten(1)) == 0).sum(1) > 1
    others = (torch.rand(150, 1, 1, 30, generator=generator("new")) < 0.5).float()
    found = memory(Sampler(lambda n, _: torch.cat([known[twins][:50], others])[:n]), data, n=200)
    assert found.exact.value >= 0.25
    assert all(pair.distance == 0 and pair.ratio == 1 for pair in found.worst)


@pytest.mark.parametrize(("n", "count", "held"), [(20, 5, 1), (10, 0, 3), (10, 10, 10), (7, 7, 0)])
def test_the_chance_of_more_is_that_of_drawing_without_replacement(n, count, held):
    total = count + held
    exact = sum(comb(n, k) * comb(n, total - k) for k in range(count, min(total, n) + 1) if total - k <= n)
    assert chance_more(count, held, n) == pytest.approx(exact / comb(2 * n, total), rel=1e-9)


def test_the_chance_of_repeats_is_that_of_all_orders():
    x = torch.tensor([0, 0, 1, 2, 3, 3, 3, 4, 5, 6]).float().view(10, 1)
    found = chance_repeated(x[[0, 1, 4, 5, 2]], x[[3, 6, 7, 8, 9]], 0)
    # 5 of 10 rows, of which both zeros are a pair and two or three of the threes repeat: 4 or more do
    reached = sum(
        2 * pair + threes * (threes > 1) >= 4
        for rows in combinations(range(10), 5)
        for pair, threes in [({0, 1} <= set(rows), len({4, 5, 6} & set(rows)))]
    )
    exact = reached / comb(10, 5)
    assert abs(found - exact) < 4 * (exact * (1 - exact) / 5_000) ** 0.5  # wrong once in 16,000 seeds
    assert chance_repeated(x[[2, 3]], x[[7, 8]], 0) == 1
    assert distinct(x).tolist() == [0, 2, 3, 4, 7, 8, 9]


@pytest.mark.parametrize("bits", [6, 8])
def test_perfect_samples_of_few_bits_repeat_each_other_no_more_often_than_is_said(bits):
    chance, few = 0.3 ** torch.arange(1, bits + 1).sqrt(), []
    for seed in range(40):
        x = (torch.rand(1_600, bits, generator=generator("bits", seed)) < chance).float()
        data = from_arrays((255 * x).to(torch.uint8), name="bits")
        new = (torch.rand(160, bits, generator=generator("new", seed)) < chance).float()
        found = memory(Sampler(lambda n, _, new=new: new[:n]), data)
        few.append(found.repeated_chance)
        assert not any("equal to another one" in line for line in found.advice())  # in 80 one in 12 runs at 1e-3 each
    under = sum(chance <= 0.2 for chance in few) / 40
    assert under < 0.2 + 4 * (0.2 * 0.8 / 40) ** 0.5
    assert under > 0


def test_a_tenth_of_copies_is_caught_and_the_worst_are_among_them(data):
    found = memory(replaying(data, 0.1), data)
    assert max(found.near_chance, found.copied_chance) < 1e-6
    assert found.copied.value == pytest.approx(0.1 * memory(replaying(data, 1.0), data).copied.value + 0.01, abs=0.03)
    x, known = replaying(data, 0.1).sample(found.n, seed=0), data.train.fixed(0)
    assert len(found.worst) == WORST
    assert [pair.ratio for pair in found.worst] == sorted(pair.ratio for pair in found.worst)
    for pair in found.worst:
        assert pair.distance == (x[pair.sample] - known[pair.position]).square().sum()
        assert pair.row == data.train.rows[pair.position]
        second = (x[pair.sample] - known).square().flatten(1).sum(1).sort().values[1]
        assert pair.ratio == pytest.approx(pair.distance / float(second))
    assert sum(pair.sample < 50 for pair in found.worst) >= 8


def test_new_data_are_not_suspected_and_a_healthy_model_at_its_nominal_rate():
    truth = LinearGaussian.draw(4, 4)
    near, copied, crowded = [], [], []
    for seed in range(300):
        data = from_arrays(truth.sample(4_000, seed), name="normal")
        found = memory(Sampler(lambda n, _, seed=seed: truth.sample(n, 10_000 + seed)), data)
        near.append(found.near_chance)
        copied.append(found.copied_chance)
        crowded.append(found.crowded_chance)
    for chances in map(torch.tensor, (near, copied, crowded)):
        for level in (0.01, 0.05, 0.2):
            share, error = float((chances <= level).double().mean()), (level * (1 - level) / 300) ** 0.5
            assert share < level + 4 * error
    for chances in map(torch.tensor, (near, copied)):
        assert float((chances <= 0.2).double().mean()) > 0.05  # and it is not never


def test_new_binary_images_are_near_as_often_as_held_out_ones(data):
    found = [memory(Sampler(lambda n, _, seed=seed: fresh(n, seed)), data) for seed in range(20)]
    assert min(min(one.near_chance, one.copied_chance, one.crowded_chance) for one in found) > 1e-3
    for mean in (sum(one.near.value for one in found) / 20, sum(one.copied.value for one in found) / 20):
        # all are held against the same threshold, which has the error of one share of 500
        assert abs(mean - 0.01) < 4 * (0.01 * 0.99 / 500 * (1 + 1 / 20)) ** 0.5
    assert [one.advice() for one in found] == [[]] * 20


def test_a_sampler_that_repeats_itself_is_caught(data):
    whole = memory(Sampler(lambda n, seed: fresh(n // 2 + 1, seed).repeat(2, 1, 1, 1)[:n]), data)
    assert whole.repeated.value > 0.95
    assert whole.held_repeated.value == 0
    assert any("are equal to another one" in line for line in whole.advice())
    noisy = memory(Sampler(lambda n, seed: read(blobs(20, 7).repeat(n // 20 + 1, 1, 1, 1)[:n], seed)), data)
    assert noisy.crowded_chance < 1e-6
    assert noisy.crowded.value > 0.2
    assert len(noisy.advice()) == 1


def test_the_report_is_plain_data_and_a_function_of_the_seed(data):
    found = memory(replaying(data, 0.1), data, n=200)
    assert (found.n, found.held, found.training, found.measure) == (200, 200, 4_000, "binary")
    assert memory(replaying(data, 0.1), data, n=200) == found
    assert json.loads(json.dumps(found.as_dict()))["worst"][0]["sample"] == found.worst[0].sample
    table = dict(found.table())
    assert "200 samples and 200 of blobs test against 4,000 training examples, binary" in table["examples"]
    assert f"row {found.worst[0].row} of the source" in table["most like a copy"]


def test_the_error_of_a_median_is_its_spread():
    values = torch.randn(400, 500, generator=generator("median"), dtype=torch.float64)
    from unveil.evaluation.samples.memory import _median

    found = [_median(row) for row in values]
    spread = torch.tensor([one.value for one in found]).std()
    assert sum(one.stderr for one in found) / 400 == pytest.approx(float(spread), rel=0.2)


def test_what_cannot_be_audited_is_named(data):
    table = from_arrays(torch.ones(300, 2), name="table", columns=("real", "count"))
    with pytest.raises(SettingError, match="between which there is no distance"):
        memory(Sampler(fresh), table)
    with pytest.raises(SettingError, match="cannot tell what is near"):
        memory(Sampler(fresh), data, n=99)
    with pytest.raises(SettingError, match="take 'validation' or 'test'"):  # each would find itself, as copies do
        memory(replaying(data, 1.0), data, split="train")

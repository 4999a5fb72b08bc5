"""Requests that are computed together have the answers that they have alone."""

import pytest
import torch
from helpers.serving import Asked
from helpers.verdicts import composed

from unveil.data import from_arrays
from unveil.data.facts import facts_of
from unveil.distributions import Mixture
from unveil.models import VAE
from unveil.parts import Gaussian, Isotropic, Net, Standard
from unveil.randomness import reseed
from unveil.run import Run
from unveil.serving.limits import Limits
from unveil.serving.served import Served
from unveil.serving.together import Piece, Together, _Apart
from unveil.serving.work import Sample

KINDS = ("flat", "conditional", "ladder", "table")


def bodies(one, count=7):
    """Requests of every kind, each of another size and with another seed."""
    facts = one.served.facts
    label = {"label": 1} if facts.classes else {}
    for number in range(count):
        n = 1 + number % 3
        yield "sample", {"n": n, "seed": number} | label
        yield "sample", {"n": n, "seed": number, "mean": True}
        x = {"x": one.post("/sample", {"n": n, "seed": number} | label).json()["x"]} | label
        yield "encode", x
        yield "reconstruct", x
        yield "score", x | {"seed": number}
        yield "decode", {"z": [[0.1 * number, -1.0]] * n} | label


def numbers(content):
    if isinstance(content, dict):
        return [one for name in sorted(content) for one in numbers(content[name])]
    return [one for part in content for one in numbers(part)] if isinstance(content, list) else [content]


@pytest.mark.parametrize("name", KINDS)
def test_answers_of_requests_that_are_joined_are_those_of_requests_alone(name, asked):
    one = asked[name]
    wanted = list(bodies(one))
    alone = [one.post(f"/{kind}", body) for kind, body in wanted]
    passes = []
    for kind in one.served.kinds.values():
        assert kind.work.joins(_piece(one, kind.name)), kind.name
    works = {kind.name: kind.work.work for kind in one.served.kinds.values()}
    try:
        for kind in one.served.kinds.values():
            kind.work.work = _counted(kind.work.work, passes)
        joined = one.together([("POST", f"/{kind}", {"json": body}) for kind, body in wanted], held=True)
    finally:
        for kind in one.served.kinds.values():
            kind.work.work = works[kind.name]
    assert len(passes) == len(works), "each kind is one pass"
    for (kind, _), first, second in zip(wanted, alone, joined, strict=True):
        assert first.status_code == second.status_code == 200, first.text
        for was, now in zip(numbers(first.json()), numbers(second.json()), strict=True):
            assert was == now or now == pytest.approx(was, rel=1e-5, abs=1e-5), kind


def _counted(work, passes):
    def counting(piece):
        passes.append(piece.count)
        return work(piece)

    return counting


def _piece(one, name):
    facts = one.served.facts
    given = {"context": one.served.context(0, 1) if facts.classes else None}
    if name == "decode":
        given["z"] = torch.zeros(1, 2)
    elif name not in ("sample", "mean"):
        given["x"] = facts.likeness()
    return Piece(1, 0, given)


@pytest.mark.parametrize("name", KINDS)
def test_a_seed_gives_the_samples_that_the_model_gives_for_it(name, asked, runs):
    run = runs[name]
    found = asked[name].post("/sample", {"n": 5, "seed": 3}).json()
    x = run.model.sample(5, run.context(None, 5), seed=3)
    if name == "table":
        from unveil.data.tables import by_name

        assert found["x"] == [list(row) for row in zip(*by_name(x, run.columns).values(), strict=True)]
    else:
        assert torch.equal(torch.tensor(found["x"]).float(), x)


def test_what_others_ask_for_changes_no_seed_of_mine(asked):
    one, mine = asked["ladder"], ("POST", "/sample", {"json": {"n": 2, "seed": 9, "mean": True}})
    answers = [
        one.together([mine, *[("POST", "/sample", {"json": {"n": n, "seed": n, "mean": True}})] * n], held=True)[0]
        for n in range(9)
    ]
    first = torch.tensor(answers[0].json()["x"])
    for answer in answers[1:]:
        torch.testing.assert_close(torch.tensor(answer.json()["x"]), first, rtol=0, atol=1e-5)


def test_without_batching_each_request_is_a_pass(runs):
    one, passes = Asked(runs["flat"], joining=False), []
    kind = one.served.kinds["sample"]
    kind.work.work = _counted(kind.work.work, passes)
    one.together([("POST", "/sample", {"json": {"seed": number}}) for number in range(6)], held=True)
    one.close()
    assert passes == [1] * 6


APART = {"svae": {"score"}}
"""That posterior draws until it is content."""
CALLED = {"m2": "-log p(x, y)", "vq-vae": "-ELBO", "ae": "distortion"}
"""What nats are called when a class is told; -log p(x) for all others, which are told none."""
SEVERAL = (
    *APART,
    "vamp",
    "exemplar",
    "ae",
    "flow-prior",
    "vae-iaf",
    "poincare-vae",
    "gumbel-vae",
    "vq-vae",
    "rhvae",
    "m2",
    "nvae-small",
)


@pytest.mark.parametrize("name", SEVERAL)
def test_models_of_every_kind_are_served_and_joined(name, tiny):
    """Each but those whose draws hang on each other; answers were compared before anything was joined."""
    even = from_arrays(torch.nn.functional.pad(tiny.whole().values, (1, 2, 1, 1)), tiny.whole().labels, name="even")
    data, model, objective = composed(name, even)
    run = Run(model.eval(), objective, {"recipe": name, "data": facts_of(data), "tensors": {}})
    served = Served(run, Limits(), 5)
    assert served.cannot == {}
    context = served.context(0, 1) if served.facts.classes else None
    given = {"x": served.facts.likeness(), "z": torch.zeros(1, *served.latent), "context": context}
    wanted = {"sample": (), "mean": (), "encode": ("x",), "decode": ("z",), "reconstruct": ("x",), "score": ("x",)}
    pieces = {kind: Piece(1, 0, {one: given[one] for one in (*names, "context")}) for kind, names in wanted.items()}
    joined = {kind for kind, piece in pieces.items() if served.kinds[kind].work.joins(piece)}
    assert joined == set(wanted) - APART.get(name, set())
    assert served.quantity_of(0 if context is not None else None) == CALLED.get(name, "-log p(x)")


@pytest.mark.parametrize("given", [{}, {"x": torch.linspace(0, 9, 4)[:, None]}])
def test_draws_of_a_mixture_that_requests_share_are_joined_and_others_are_not(given):
    """Each component is drawn as often as the one that is drawn most: how often that is, all rows decide."""
    passes = []

    def work(piece):
        reseed(piece.seed, "test")
        own = piece.given.get("x")
        means = torch.tensor([-9.0, 0.0, 9.0]) if own is None else torch.cat([own, -own], 1)
        mixture = Mixture(torch.zeros(means.shape[-1]).log_softmax(0), torch.distributions.Normal(means, 0.1))
        return {"x": mixture.sample((piece.count,) if own is None else (1,)).reshape(piece.count)}

    together = Together(_counted(work, passes))
    pieces = [Piece(n, n, {name: rows[:1].expand(n, 1) for name, rows in given.items()}) for n in (1, 9, 4)]
    assert together.joins(pieces[0]) is (not given)
    passes.clear()
    for piece, found in zip(pieces, together(pieces), strict=True):
        assert torch.equal(found["x"], work(piece)["x"])
    assert passes == ([1, 9, 4] if given else [14])


class Rejecting(torch.nn.Module):
    """Draws until it is content, as some distributions do."""

    def forward(self, z):
        found = torch.randn(len(z), 3)
        while bool((wrong := found.abs() > 1.5).any()):
            found = torch.where(wrong, torch.randn(len(z), 3), found)
        return found


def test_a_model_whose_draws_cannot_be_told_apart_is_asked_for_one_request_after_another():
    network = Rejecting()

    def work(piece):
        reseed(piece.seed, "test")
        return {"x": network(torch.zeros(piece.count))}

    together, pieces = Together(work), [Piece(count, count, {}) for count in (1, 4, 2)]
    assert not together.joins(pieces[0])
    for piece, found in zip(pieces, together(pieces), strict=True):
        assert torch.equal(found["x"], work(piece)["x"])


def test_noise_that_all_rows_share_is_not_taken_for_that_of_each():
    def work(piece):
        reseed(piece.seed, "test")
        return {"x": torch.randn(3).expand(piece.count, 3)}

    together, pieces = Together(work), [Piece(2, 0, {}), Piece(2, 1, {})]
    assert not together.joins(pieces[0])
    assert not torch.equal(*[found["x"] for found in together(pieces)])


def test_the_check_of_joint_passes_sees_noise_that_is_put_to_the_wrong_rows(monkeypatch):
    """Were the place of rows guessed wrong, requests would not be joined rather than answered wrongly."""
    torch.manual_seed(0)
    model = VAE(Standard(2), Net(torch.nn.Linear(3, 4), Gaussian(2)), Net(torch.nn.Linear(2, 3), Isotropic()))
    piece = Piece(2, 0, {"context": None})
    assert Together(Sample(model)).joins(piece)
    monkeypatch.setattr(_Apart, "reseeded", lambda self, seed, *purpose: None)
    assert not Together(Sample(model)).joins(piece)

"""What may not matter: how a batch is cut, who else is in it, how often one asks, and how large x is."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from unveil import evaluation, generation
from unveil.data import Batch
from unveil.models import Draw
from unveil.training.average import state_of
from unveil.verify.check import Gap, Law, NotApplicable, fact
from unveil.verify.subject import Subject, leaves, picked, told
from unveil.verify.toy import LATER, Kept, ask, drawn, latent_of, model_of, toy

REPEATS = 16
"""Seeds over which losses are averaged where a draw of one example may use up noise of another."""
NEAR = 1e-4
"""Relative differences that another order of summation makes."""


def near(what: str, one: Tensor, other: Tensor) -> Gap:
    """The largest difference between two tensors, as a share of the larger one's size."""
    scale = float(other.abs().max()) + 1e-6
    return Gap(what, float((one - other).abs().max()) / scale, slack=NEAR, unit="of its size")


@torch.no_grad()
def cutting(subject: Subject) -> list[Gap]:
    """Densities and encodings in another order and in pieces; losses among other examples."""
    model, batch = subject.model, subject.batch
    order = torch.randperm(len(batch.x), generator=subject.generator("order"))
    draw = subject.draw("cut", 0, 2)
    gaps = []
    for name, rows in {"in another order": order, "cut to three": torch.arange(min(3, len(batch.x)))}.items():
        part, z = picked(batch, rows), tuple(layer[:, rows] for layer in draw.z)
        single = len(z) == 1
        subject.reseed("cut", 1)
        whole = model.log_joint(batch, draw.z[0] if single else draw.z)  # type: ignore[arg-type]
        subject.reseed("cut", 1)
        here = model.log_joint(part, z[0] if single else z)  # type: ignore[arg-type]
        subject.reseed("cut", 2)
        if torch.equal(whole, model.log_joint(batch, draw.z[0] if single else draw.z)):  # type: ignore[arg-type]
            gaps.append(near(f"log p(x, z) of a batch {name}", here, whole[:, rows]))
        q, p = (_mean(model.encode(given.x, given.context)) for given in (batch, part))
        if q is not None and p is not None:
            gaps.append(near(f"mean of q(z|x) of a batch {name}", p, q[rows]))
    return gaps + _company(subject)


def _mean(q: Distribution) -> Tensor | None:
    try:
        mean: Tensor = q.mean
    except NotImplementedError:
        return None
    return mean


def _company(subject: Subject) -> list[Gap]:
    """Losses of the first half of the batch, when the other half is exchanged for other examples, by the same noise."""
    if subject.objective.couples:
        return []
    x, half = subject.batch.x, len(subject.batch.x) // 2
    later = torch.arange(len(x) + half, len(x) + len(x)) % len(subject.data.train)
    other = subject.data.train.subset(later).fixed(subject.seed)
    changed = replace(subject.batch, x=torch.cat([x[:half], other]))
    found = [
        torch.stack([_loss(subject, place, batch)[:half] for place in range(REPEATS * subject.effort)])
        for batch in (subject.batch, changed)
    ]
    apart, slack = found[1] - found[0], 1e-3 + NEAR * float(found[0].abs().max())
    what = "the loss of an example, against that among other examples"
    return [Gap.over(f"{what}, example {row}", apart[:, row], slack) for row in range(half)]


def _loss(subject: Subject, place: int, batch: Batch) -> Tensor:
    with torch.enable_grad():
        draw = subject.objective_s("company", place, batch)
        return told(subject.objective(draw, subject.model, torch.tensor(LATER))).detach()


def rest(subject: Subject) -> list[Gap]:
    """What `encode`, `reconstruct`, `bound` and `sample` give, though somebody left the model in training mode."""
    model, split = subject.model, subject.data.validation
    model.train()
    before = {name: value.clone() for name, value in state_of(model).items()}
    found = []
    for ambient in (1, 2):  # noise that is not asked for by a seed would come from here
        torch.manual_seed(ambient)
        encoded = generation.encode(model, split)
        torch.manual_seed(ambient)
        pictures = generation.reconstruct(model, split)
        torch.manual_seed(ambient)
        batches = split.batches(len(split), subject.seed)
        bound = evaluation.bound(model, batches, subject.seed, torch.device("cpu"))["distortion"]
        found.append((encoded.mean, encoded.scale, pictures, bound))
    names = ("the mean that encode() gives", "the scale that encode() gives", "what reconstruct() gives", "a distortion")
    gaps = [near(f"{name}, asked for twice", *pair) for name, *pair in zip(names, *found, strict=True)]
    for count in (1, 3):
        alone = generation.encode(model, split.subset(torch.arange(count))).mean
        gaps.append(
            near(f"the mean that encode() gives of {count} alone, against among others", alone, found[0][0][:count])
        )
    model.sample(2, subject.context(2), seed=0)
    moved = [name for name, value in state_of(model).items() if not torch.equal(value, before[name])]
    what = "state is left as it was" + (f": {', '.join(moved[:3])} moved" if moved else "")
    gaps.append(fact(what, not moved))
    return [*gaps, fact("training mode is left as it was", all(layer.training for layer in model.modules()))]


def state(subject: Subject) -> list[Gap]:
    """Parameters and buffers after draws, losses, gradients and samples in training mode."""
    both = nn.ModuleList([subject.model, subject.objective]).train()
    # layers of torch's own that are known to do so; the loop undoes it for a step that was lost
    drifting = {
        buffer.data_ptr()
        for layer in both.modules()
        if isinstance(layer, nn.modules.batchnorm._NormBase)
        for buffer in layer.buffers()
    }
    before = {name: value.clone() for name, value in state_of(both).items() if value.data_ptr() not in drifting}
    gaps = []

    def unchanged(after: str) -> None:
        now = state_of(both)
        moved = [name for name, value in before.items() if not _same(value, now[name])]
        gaps.append(fact(f"no state moves in {after}" + (f": {', '.join(moved[:3])} did" if moved else ""), not moved))

    draw = subject.objective_s("state", 0)
    unchanged("a draw")
    loss = told(subject.objective(draw, subject.model, torch.tensor(0.0)))
    unchanged("a loss")
    loss.mean().backward()
    unchanged("a gradient")
    subject.model.sample(2, subject.context(2), seed=0)
    unchanged("samples")
    return gaps


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(torch.nan_to_num(one), torch.nan_to_num(other))


@torch.no_grad()
def scale(subject: Subject) -> list[Gap]:
    """What the loss makes of twice as many numbers in x, and of twice as many examples in the batch."""
    gaps = _batch_growth(subject)
    try:
        gaps.append(_event_growth(subject))
    except NotApplicable:
        if not gaps:
            raise
    return gaps


def _event_growth(subject: Subject) -> Gap:
    """By what factor the part of the loss that knows x from another x grows when each number stands in x twice.

    Two, as log p(x|z) of independent numbers does. One is the mark of a mean over the numbers of x, beside which a rate
    weighs more the larger x is.
    """
    objective, known = subject.objective, toy(latent_of(subject), subject.seed)
    samples, size, latent = objective.samples or 1, 64, known.latent
    batch, other = known.batch(size, subject.seed, samples), known.truth.sample(size, subject.seed + 1)
    changed = torch.cat([batch.x[:, :latent], other[:, latent:]], 1)  # the posterior looks at what stays
    found = []
    for copies in (1, 2):
        weight, bias = known.truth.weight.repeat(copies, 1), known.truth.bias.repeat(copies)
        model = model_of(replace(known.truth, weight=weight, bias=bias), Kept(latent))
        losses = []
        for x in (batch.x, changed):
            given = replace(batch, x=x.repeat(1, copies))
            subject.reseed("growth")
            losses.append(ask(objective, model, drawn(objective, model, given)).double())
        found.append(losses[0] - losses[1])
    once, twice = found
    if float(once.abs().max()) < 1e-4:
        raise NotApplicable("the objective does not tell one x from another by what it decodes to")
    factor = float((once * twice).sum() / once.square().sum())
    bent = float((twice - factor * once).abs().max() / once.abs().max())
    if bent > 0.01:
        raise NotApplicable("the objective is no sum over the numbers of x, nor a mean")
    what = "how the distortion grows when each number of x stands there twice, against 2"
    return Gap(what, factor - 2, slack=0.5, unit="times")


def _batch_growth(subject: Subject) -> list[Gap]:
    """Whether a term's mean loss grows with the batch, as a sum over examples does that is taken for a mean."""
    gaps = []
    sizes = (1, 2, 4)
    draws = [[_repeated(subject, times, place) for times in sizes] for place in range(4)]
    for term in leaves(subject.objective):
        with torch.enable_grad():
            rows = [[told(term(one, subject.model, torch.tensor(LATER))).mean() for one in row] for row in draws]
        once, twice, often = torch.tensor(rows).double().T
        if float(once.mean().abs()) < 1e-4 + 4 * float(once.std()):
            continue  # nothing that could be told from noise
        grows = [float(part.mean() / once.mean()) for part in (twice, often)]
        summed = abs(grows[0] - 2) < 0.1 and abs(grows[1] - 4) < 0.2
        gaps.append(fact(f"the mean loss of {type(term).__name__} does not grow with the batch", not summed))
    if not gaps:
        raise NotApplicable("no term has a mean that could be told from its noise")
    return gaps


def _repeated(subject: Subject, times: int, place: int) -> Draw:
    rows = torch.arange(len(subject.batch.x)).repeat(times)
    return subject.objective_s(f"repeated {times}", place, picked(subject.batch, rows))


LAWS = (
    Law(
        "cutting the batch",
        "What is said of an example does not depend on its place, nor on the others in its batch, but for terms that say "
        "that they couple.",
        cutting,
        "Sum over the event and nothing else, and set couples = True in a term that reads the batch.",
    ),
    Law(
        "rest",
        "Encodings, reconstructions and figures are functions of the model, the example and a seed, whatever mode the "
        "model was left in.",
        rest,
        "Encode to the posterior, not to a draw from it, and let no layer keep to training mode within resting().",
    ),
    Law(
        "state",
        "A forward pass changes no state.",
        state,
        "Move state in update(), which is called after a step that was found finite.",
    ),
    Law(
        "scale",
        "The distortion is a sum over the numbers of x, and a term's mean over examples does not grow with the batch.",
        scale,
        "Sum over the event and take means over examples alone, so that a weight means the same for every size.",
    ),
)

"""The classifier that samples are judged by: train it on MNIST, look at the test images once, write it into the package.

    python bench/classifier.py [--seed 0] [--epochs 8] [--data-dir DIR] [--write]

It learns from the training split without validation; each image comes gray or stochastically binarised with equal
chance, moved by up to two pixels. The weights after the epoch with the best accuracy on the validation split are taken,
rounded to float16, and only then looked at on the test split. With --write they go to src/unveil/evaluation/samples/, with
a record of how they were made. Five minutes on one thread of a busy machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

import unveil
from unveil.data import Binarise, Dataset, Gray, Reading, Split
from unveil.evaluation.figure import Figure, share
from unveil.evaluation.samples.classifier import FACTS, FEATURES, FOLDER, WEIGHTS, DigitClassifier, look
from unveil.randomness import generator
from unveil.version import __version__

BATCH, RATE, SHIFT = 100, 2e-3, 2
READINGS: dict[str, Reading] = {"gray": Gray(), "binarised": Binarise()}


def moved(x: Tensor, source: torch.Generator) -> Tensor:
    """x (B, 1, H, W), each by up to SHIFT pixels up or down and left or right, black coming in."""
    count, _, height, width = x.shape
    down, right = torch.randint(0, 2 * SHIFT + 1, (2, count, 1), generator=source)
    rows, columns = down + torch.arange(height), right + torch.arange(width)
    wide = F.pad(x, (SHIFT,) * 4)
    return wide[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def seen(values: Tensor, source: torch.Generator) -> Tensor:
    """Stored images as the classifier sees them in training."""
    binary = torch.rand(len(values), 1, 1, 1, generator=source) < 0.5
    x = torch.where(binary, READINGS["binarised"](values, source), READINGS["gray"](values))
    return moved(x, source)


def accuracy(classifier: DigitClassifier, split: Split, reading: Reading, seed: int) -> Figure:
    """Share of a split's images that are known, in this reading."""
    assert split.labels is not None
    x = reading(split.values[:], generator(seed, "classifier", "reading", split.name))
    return share(int((look(classifier, x)[1] == split.labels).sum()), len(split))


def rounded(state: dict[str, Tensor]) -> DigitClassifier:
    """The classifier as its file holds it."""
    classifier = DigitClassifier()
    classifier.load_state_dict({name: tensor.half().float() for name, tensor in state.items()})
    return classifier.eval()


def train(data: Dataset, seed: int, epochs: int) -> tuple[DigitClassifier, int]:
    """The classifier after its best epoch, and which that was."""
    split = data.train
    assert split.labels is not None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = DigitClassifier()
    steps = len(split) // BATCH
    optimiser = torch.optim.Adam(classifier.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * steps)
    best, kept, chosen = 0.0, classifier, 0
    for epoch in range(1, epochs + 1):
        source = generator(seed, "classifier", epoch)
        order = torch.randperm(len(split), generator=source)[: steps * BATCH]
        for rows in order.split(BATCH):
            loss = F.cross_entropy(classifier(seen(split.values[rows], source)), split.labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        candidate = rounded(scaled(classifier, split))
        found = [accuracy(candidate, data.validation, reading, seed).value for reading in READINGS.values()]
        print(f"epoch {epoch}: validation accuracy {found[0]:.4f} gray, {found[1]:.4f} binarised", flush=True)
        if sum(found) > best:
            best, kept, chosen = sum(found), candidate, epoch
    return kept, chosen


def scaled(classifier: DigitClassifier, split: Split) -> dict[str, Tensor]:
    """The weights with the same logits and features of variance 1 on average over training images, half of them binary."""
    values = split.values[:10_000]
    x = torch.cat([READINGS["gray"](values), READINGS["binarised"](values, generator("classifier", "scale"))])
    scale = float(look(classifier, x)[0].double().var(0).mean().sqrt())
    state = {name: tensor.detach().clone() for name, tensor in classifier.state_dict().items()}
    for name, factor in (("hidden.weight", 1 / scale), ("hidden.bias", 1 / scale), ("last.weight", scale)):
        state[name] *= factor  # the rectifier between the two lets a positive factor pass
    return state


def record(classifier: DigitClassifier, data: Dataset, content: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    """What classifier.json says."""

    def accuracies(split: Split) -> dict[str, Any]:
        found = {name: accuracy(classifier, split, reading, facts["seed"]) for name, reading in READINGS.items()}
        return {name: {"accuracy": of.value, "stderr": of.stderr, "n": of.n} for name, of in found.items()}

    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "numbers": sum(parameter.numel() for parameter in classifier.parameters()),
        "features": FEATURES,
        "test": accuracies(data.test),
        "validation": accuracies(data.validation),
        "command": f"./run bench classifier --seed {facts['seed']} --epochs {facts['epochs']} --write",
        **facts,
        "data": {"name": data.name, "fingerprint": data.fingerprint, "attribution": data.attribution},
        "versions": {"unveil": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Train, choose, look at the test split, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--data-dir")
    parser.add_argument("--write", action="store_true", help="put weights and record into the package")
    given = parser.parse_args()
    data = unveil.load("mnist", data_dir=given.data_dir)
    classifier, epoch = train(data, given.seed, given.epochs)
    state = {name: tensor.half().contiguous() for name, tensor in classifier.state_dict().items()}
    content = safetensors.torch.save(state)
    facts = {"seed": given.seed, "epochs": given.epochs, "best_epoch": epoch}
    text = json.dumps(record(classifier, data, content, facts), indent=1) + "\n"
    print(text)
    if given.write:
        (FOLDER / WEIGHTS).write_bytes(content)
        (FOLDER / FACTS).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""The same network, data, epochs and loss in Unveil and in pythae, the library with the most models.

Network 784-400-20-400-784, ReLU, gray MNIST, cross-entropy + KL, all 60,000 training images, batches of 128 and a constant
learning rate in both, each called as its users call it: `unveil.train`, and pythae's
TrainingPipeline. Every measurement is a process of its own, the two alternate in one run, and medians are compared.

    ./run bench peers [--rounds 3] [--epochs 3] [--batch-size 128] [--data-dir DIR] [--write]

'start-up' is from the start of the process to the first step: imports, reading the data, building the model. 'an epoch' is
the median of the epochs. 'memory' is the most that the process ever held, less what it held once torch was imported and the
images were read as bytes, which both must have. The loss on the test images is measured afterwards, by one code for both.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import _page as page
from time_to_nats import gray_mnist

PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
LEARNING_RATE = 1e-3
HIDDEN, LATENT = 400, 20


class Epochs:
    """When the first step began, and when each epoch ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def now(self, *_: Any, **__: Any) -> None:
        self.times.append(perf_counter())

    def step(self, step: int) -> None:
        """Unveil tells of each step, too."""

    begin = epoch = now

    def said(self, start: float) -> dict[str, Any]:
        lengths = [after - before for before, after in zip(self.times, self.times[1:], strict=False)]
        return {"start-up": self.times[0] - start, "epoch": median(lengths)}


def held() -> float:
    """MiB, the most that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def unveil_arm(images: Any, folder: str, given: argparse.Namespace, epochs: Epochs) -> Any:
    """`unveil.train`; returns (encode, decode) of what was trained: x to mean and log-variance, z to probabilities."""
    import torch

    import unveil
    from unveil.recipes import recipe

    data = gray_mnist(given.data_dir)
    small = recipe("vae").given(latent=LATENT, hidden=(HIDDEN,), activation="relu", kl_warmup=0.0)
    settings = {
        "epochs": given.epochs,
        "batch_size": given.batch_size,
        "learning_rate": LEARNING_RATE,
        "schedule": "constant",
    }
    run = unveil.train(data, small, out=Path(folder) / "run", monitor=epochs, **settings)

    def encode(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        posterior = run.model.encode(x)
        return posterior.mean, 2 * posterior.stddev.log()

    return encode, lambda z: run.model.decode(z).mean


def pythae_arm(images: Any, folder: str, given: argparse.Namespace, epochs: Epochs) -> Any:
    """pythae's TrainingPipeline; returns as `unveil_arm` does."""
    import torch
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback
    from torch import nn

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(784, HIDDEN)
            self.mean, self.log_variance = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)

        def forward(self, x: torch.Tensor) -> Any:
            h = torch.relu(self.hidden(x.flatten(1)))
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 784), nn.Sigmoid())

        def forward(self, z: torch.Tensor) -> Any:
            return ModelOutput(reconstruction=self.layers(z).view(-1, 1, 28, 28))

    class Clock(TrainingCallback):
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            if not epochs.times:
                epochs.now()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            epochs.now()

    model = VAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce"), Encoder(), Decoder())
    config = BaseTrainerConfig(
        output_dir=folder,
        learning_rate=LEARNING_RATE,
        per_device_train_batch_size=given.batch_size,
        num_epochs=given.epochs,
        keep_best_on_train=True,
    )
    TrainingPipeline(model=model, training_config=config)(train_data=images.float() / 255, callbacks=[Clock()])
    model.eval()

    def encode(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = model.encoder(x)
        return found.embedding, found.log_covariance

    return encode, lambda z: model.decoder(z).reconstruction


ARMS = {"unveil": unveil_arm, "pythae": pythae_arm}


def arm(given: argparse.Namespace) -> dict[str, Any]:
    """One library in this process."""
    start = perf_counter()
    import numpy as np
    import torch

    source = np.load(given.images)
    images, test = torch.from_numpy(source["train"]), torch.from_numpy(source["test"])
    before, epochs = held(), Epochs()
    with TemporaryDirectory() as folder:
        encode, decode = ARMS[given.arm](images, folder, given, epochs)
    found = epochs.said(start) | {"memory": held() - before}
    with torch.no_grad():
        torch.manual_seed(0)
        x = test.float() / 255
        mean, log_variance = encode(x)
        output = decode(mean + torch.randn_like(mean) * (0.5 * log_variance).exp()).reshape(x.shape)
        distortion = torch.nn.functional.binary_cross_entropy(output, x, reduction="sum")
        rate = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
    return found | {"loss": float(distortion + rate) / len(x)}


def child(name: str, given: argparse.Namespace, images: Path) -> dict[str, Any]:
    """One library in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--arm", name, "--images", str(images)]
    command += ["--epochs", str(given.epochs), "--batch-size", str(given.batch_size)]
    command += ["--data-dir", given.data_dir] if given.data_dir else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Alternate the libraries and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--data-dir")
    parser.add_argument("--write", action="store_true", help=f"put the table into docs/{PAGE.name}")
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--images", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.arm:
        print(json.dumps(arm(given)))
        return
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ARMS}
    with TemporaryDirectory() as folder:
        images = Path(folder) / "images.npz"
        _read(images, given.data_dir)
        for number in range(given.rounds):
            for name in ARMS:
                one = child(name, given, images)
                found[name].append(one)
                print(
                    f"round {number + 1}, {name}: " + ", ".join(f"{key} {value:.2f}" for key, value in one.items()),
                    flush=True,
                )
    middle = {name: {key: median(one[key] for one in ones) for key in ones[0]} for name, ones in found.items()}
    table = [
        f"| {given.epochs} epochs, batches of {given.batch_size} | an epoch | memory | start-up | test loss, nats |",
        "|---|---|---|---|---|",
    ]
    for name, one in middle.items():
        table.append(
            f"| {name} | {one['epoch']:.2f} s | {one['memory']:,.0f} MiB | {one['start-up']:.1f} s | {one['loss']:.2f} |"
        )
    ratios = {key: middle["pythae"][key] / middle["unveil"][key] for key in ("epoch", "memory", "start-up")}
    table.append("| ratio | " + " | ".join(f"{ratio:.1f}" for ratio in ratios.values()) + " | |")
    print("\n".join(table))
    if given.write:
        page.write("peers", "\n".join(table), PAGE)


def _read(path: Path, data_dir: str | None) -> None:
    """All 60,000 training images and the test images as bytes, once for all processes."""
    import numpy as np

    data = gray_mnist(data_dir)
    np.savez(path, train=data.train.values.numpy(), test=data.test.values.numpy())


if __name__ == "__main__":
    main()

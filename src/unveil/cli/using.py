"""Commands that call a trained model: for samples, posteriors and reconstructions."""

from __future__ import annotations

from unveil.cli import options
from unveil.cli.common import ending, open_run, save_array, start
from unveil.cli.parsing import parse
from unveil.errors import DataError, SettingError


def sample(arguments: list[str]) -> int:
    """`unveil sample`."""
    given = parse(options.Sample, "sample", arguments)
    start()
    import unveil
    from unveil.data import Space

    kind = ending(given.out, (".png", ".npy", ""))
    run = unveil.open(given.run)
    x = run.model.sample(given.n, run.context(given.label, given.n), seed=given.seed, mean=given.mean)
    facts = run.manifest["data"]
    space = Space(tuple(facts["shape"]), facts["measure"], facts.get("levels", 256))
    if kind != ".npy" and not space.is_image:
        raise SettingError(f"samples of shape {tuple(x.shape[1:])} are no images; write them with --out samples.npy")
    from unveil import album

    if kind == ".png":
        album.samples(x / space.white, given.out)
    elif kind == ".npy":
        save_array(given.out, x.numpy())
    else:
        digits = len(str(given.n - 1))
        for number, image in enumerate(x / space.white):
            album.samples(image[None], given.out / f"{number:0{digits}}.png")
    print(f"{given.n} {'means E[x|z]' if given.mean else 'samples'} in {given.out}")
    return 0


def encode(arguments: list[str]) -> int:
    """`unveil encode`."""
    given = parse(options.Encode, "encode", arguments)
    start()
    import numpy as np

    from unveil import generation

    ending(given.out, (".npz",))
    run, data = open_run(given.run, given.data, given.data_dir)
    found = generation.encode(run.model, data.split(given.split))
    label = np.full(len(found.index), -1) if found.label is None else found.label.numpy()
    save_array(given.out, mean=found.mean.numpy(), scale=found.scale.numpy(), label=label, index=found.index.numpy())
    print(f"{len(found.index):,} posteriors in {given.out}: mean and scale {tuple(found.mean.shape)}, label, index")
    return 0


def reconstruct(arguments: list[str]) -> int:
    """`unveil reconstruct`."""
    given = parse(options.Reconstruct, "reconstruct", arguments)
    start()
    from unveil import album

    ending(given.out, (".png",))
    if given.n < 1:
        raise SettingError(f"{given.n} examples cannot be drawn; ask for at least 1")
    run, data = open_run(given.run, given.data, given.data_dir)
    if not data.space.is_image:
        raise DataError(f"{data.name} holds no images; unveil encode writes its posteriors")
    album.reconstructions(run.model, data.split(given.split), given.out, given.n, white=data.space.white)
    print(f"originals over reconstructions in {given.out}")
    return 0

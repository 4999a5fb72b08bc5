"""Folders of shards as others write them, and as an enemy does."""

import io
import json
import tarfile

import numpy as np
from PIL import Image


def pixels(n, height=6, width=5, channels=1, seed=0):
    """(n, H, W) or (n, H, W, 3) bytes that are neither black nor white."""
    shape = (n, height, width) if channels == 1 else (n, height, width, channels)
    return np.random.default_rng(seed).integers(40, 220, shape).astype(np.uint8)


def encoded(array, form="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form)
    return buffer.getvalue()


def add(archive, name, content, **facts):
    """A member; `facts` are fields of its header."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in facts.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(content))


def write_tar(path, images, labels=None, first=0, kind="cls"):
    """`key.png` for each image, and beside it `key.cls` or `key.json`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for place, image in enumerate(images):
            key = f"{first + place:06}"
            add(archive, f"{key}.png", encoded(image))
            if labels is not None:
                label = labels[place]
                text = json.dumps({"label": label}) if kind == "json" else str(label)
                add(archive, f"{key}.{kind}", text.encode())
    return path


def write_parquet(path, images, labels=None, group=20, records=True, names=None, image="image", label="label"):
    """A column of images, as records with bytes or as bytes, and perhaps one of labels, with names for the classes."""
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    content = [None if one is None else encoded(one) for one in images]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]) if records else pyarrow.binary()
    values = [None if one is None else {"bytes": one, "path": None} for one in content] if records else content
    columns = {image: pyarrow.array(values, kind)}
    if labels is not None:
        columns[label] = pyarrow.array(labels)
    table = pyarrow.table(columns)
    if names is not None:
        features = {label: {"names": names, "_type": "ClassLabel"}, image: {"_type": "Image"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, path, row_group_size=group)
    return path


def tar_folder(folder, n=120, shards=4, channels=1, labelled=True):
    """A folder of tar shards, and the images and labels in them."""
    images, labels = pixels(n, channels=channels), np.arange(n) % 3
    each = n // shards
    for shard in range(shards):
        part = slice(shard * each, (shard + 1) * each)
        marks = [int(label) for label in labels[part]] if labelled else None
        write_tar(folder / f"part-{shard:04}.tar", images[part], marks, shard * each)
    return images, labels


def parquet_folder(folder, n=120, shards=3, **how):
    """A folder of Parquet shards, and the images and labels in them."""
    images, labels = pixels(n), np.arange(n) % 3
    for shard in range(shards):
        part = slice(shard * n // shards, (shard + 1) * n // shards)
        write_parquet(folder / f"part-{shard}.parquet", images[part], [int(label) for label in labels[part]], **how)
    return images, labels


MAKE = {"tar": tar_folder, "parquet": parquet_folder}
"""What writes a folder of each kind."""

"""Hugging Face's datasets: what is in them is what is trained on, none of their code is run, and nothing is fetched."""

import json
import os
import random
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from helpers.shards import encoded, pixels, write_tar
from PIL import Image

os.environ["HF_HUB_OFFLINE"] = "1"
datasets = pytest.importorskip("datasets")

import unveil  # noqa: E402
from unveil.data.store import Store  # noqa: E402
from unveil.errors import DataError  # noqa: E402

datasets.disable_progress_bars()
NAMES = ["cat", "dog", "cow"]
MUTATIONS = int(os.environ.get("UNVEIL_MUTATIONS", "1000")) // 10


def hugging(n=60, seed=0, image="image", label="label", labels=None):
    columns = {
        image: [Image.fromarray(one) for one in pixels(n, seed=seed)],
        label: [place % 3 for place in range(n)] if labels is None else labels,
    }
    features = datasets.Features({image: datasets.Image(), label: datasets.ClassLabel(names=NAMES)})
    return datasets.Dataset.from_dict(columns, features=features)


def read(data):
    whole = data.whole()
    return whole.values[:].numpy()[:, 0], whole.labels.numpy()


def test_what_is_in_the_dataset_is_what_is_trained_on():
    found = unveil.load(hugging())
    assert (read(found)[0] == pixels(60)).all()
    assert (read(found)[1] == np.arange(60) % 3).all()
    assert found.classes == tuple(NAMES)
    assert str(found.space) == "1x6x5, integers from 0 to 255, counted"


def test_a_folder_of_one_and_one_of_several(tmp_path):
    hugging().save_to_disk(tmp_path / "one")
    found = unveil.load(tmp_path / "one")
    assert found.fingerprint == unveil.load(hugging()).fingerprint
    assert found.loadable
    both = datasets.DatasetDict(train=hugging(), test=hugging(20, seed=1))
    both.save_to_disk(tmp_path / "both", num_shards={"train": 3, "test": 1})
    found = unveil.load(tmp_path / "both")
    assert found.fingerprint == unveil.load(both).fingerprint == unveil.load(dict(both)).fingerprint
    assert (found.test.values[:].numpy()[:, 0] == pixels(20, seed=1)).all()
    assert len(found.train) + len(found.validation) == 60


def test_rows_that_were_chosen_and_shuffled_are_those(tmp_path):
    order = [7, 3, *range(20, 50)]
    found = unveil.load(hugging().select(order))
    assert (read(found)[0] == pixels(60)[order]).all()
    assert (read(found)[1] == np.array(order) % 3).all()


def test_transforms_and_formats_are_not_applied():
    changed = hugging().with_transform(lambda rows: {name: [0] * len(one) for name, one in rows.items()})
    assert unveil.load(changed).fingerprint == unveil.load(hugging()).fingerprint
    assert unveil.load(hugging().with_format("torch")).fingerprint == unveil.load(hugging()).fingerprint


def test_columns_are_chosen_and_kept_for_the_next_time(tmp_path):
    odd = hugging(image="scan", label="kind")
    with pytest.raises(DataError, match="has scan, kind, and none is called 'image' or 'x'; name one by image_column"):
        unveil.load(odd)
    found = unveil.load(odd, image_column="scan", label_column="kind")
    assert found.fingerprint == unveil.load(hugging()).fingerprint
    odd.save_to_disk(tmp_path / "odd")
    data = unveil.load(tmp_path / "odd", image_column="scan", label_column="kind")
    run = unveil.train(data, epochs=1, batch_size=20, latent=2, out=tmp_path / "run")
    assert unveil.open(run.path).load_data().fingerprint == found.fingerprint
    with pytest.raises(DataError, match=r"no column of Dataset 'scam'; did you mean 'scan'"):
        unveil.load(odd, image_column="scam")


def test_columns_of_numbers_are_read_as_arrays_are(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    labels = [place % 2 for place in range(40)]
    found = unveil.load(datasets.Dataset.from_dict({"x": x.tolist(), "label": labels}))
    assert found.fingerprint == unveil.load(x, np.array(labels)).fingerprint
    cubes = np.random.default_rng(0).integers(0, 256, (40, 1, 3, 2)).astype(np.uint8)
    features = datasets.Features({"x": datasets.Array3D((1, 3, 2), "uint8")})
    table = datasets.Dataset.from_dict({"x": list(cubes)}, features=features)
    table.save_to_disk(tmp_path / "cubes")
    for source in (table, tmp_path / "cubes"):
        with pytest.raises(DataError, match="int64"):  # an Arrow list says nothing of bytes once it is a list of Python's
            unveil.load(source)
        assert unveil.load(source, measure="count").space.shape == (1, 3, 2)
    with pytest.raises(DataError, match=r"item 5 of _Rows has shape \(3,\)"):
        unveil.load(datasets.Dataset.from_dict({"x": [[1.0, 2.0]] * 5 + [[1.0, 2.0, 3.0]]}))
    with pytest.raises(DataError, match="item 0 of _Rows is ndarray of type <U3"):
        unveil.load(datasets.Dataset.from_dict({"x": ["cat", "dog"]}))


def test_minus_one_is_no_class():
    found = unveil.load(hugging(labels=[-1] * 60))
    assert found.train.labels is None
    found = unveil.load(hugging(labels=[-1, *[1] * 59]))
    assert found.notes[-1] == "1 of 60 images have no label, so none are taken"


def test_images_of_several_sizes_and_bad_ones():
    cells = [{"bytes": encoded(one), "path": None} for one in pixels(40)]
    cells[3] = {"bytes": b"no image", "path": None}
    cells[5] = {"bytes": None, "path": "https://example.org/a.png"}
    cells[7] = None
    cells[9] = {"bytes": encoded(pixels(1, 9, 9)[0]), "path": None}
    found = unveil.load(datasets.Dataset.from_dict({"image": cells}, features=datasets.Features(image=datasets.Image())))
    assert [path for path, _ in found.bad] == ["Dataset row 3", "Dataset row 5", "Dataset row 7"]
    assert found.bad[1][1] == found.bad[2][1] == "the table holds no image"
    assert len(found.whole()) == 37
    assert found.space.shape == (1, 6, 5)
    assert "another size than 6 x 5: 1 of 37 images" in found.notes[0]


def test_files_are_read_where_a_person_named_them_and_not_where_a_folder_does(tmp_path):
    paths = []
    for place, image in enumerate(pixels(30)):
        Image.fromarray(image).save(tmp_path / f"{place:02}.png")
        paths.append(str(tmp_path / f"{place:02}.png"))
    by_path = datasets.Dataset.from_dict({"image": paths}, features=datasets.Features(image=datasets.Image()))
    assert (unveil.load(by_path).whole().values.numpy()[:, 0] == pixels(30)).all()
    by_path.save_to_disk(tmp_path / "saved")  # which puts the bytes into the table
    assert len(unveil.load(tmp_path / "saved").whole()) == 30
    write_arrow(tmp_path / "named", [{"bytes": None, "path": path} for path in paths])
    with pytest.raises(DataError, match=r"holds no images that can be read: .*named row 0: the table holds no image"):
        unveil.load(tmp_path / "named")


def write_arrow(folder, cells, name="data.arrow", state=None):
    """A folder as `save_to_disk` writes it."""
    import pyarrow

    folder.mkdir()
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table({"image": pyarrow.array(cells, kind)})
    with pyarrow.OSFile(str(folder / "data.arrow"), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    (folder / "state.json").write_text(json.dumps(state or {"_data_files": [{"filename": name}]}))
    return folder


@pytest.mark.parametrize("name", ["../one/data.arrow", "/etc/passwd", "..", "", "a\\b", "a\nb", 7])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    hugging().save_to_disk(tmp_path / "one")
    folder = write_arrow(tmp_path / "x", [{"bytes": encoded(one), "path": None} for one in pixels(20)], name=name)
    with pytest.raises(DataError, match="lies elsewhere"):
        unveil.load(folder)


def test_splits_that_lead_elsewhere_are_refused(tmp_path):
    datasets.DatasetDict(train=hugging()).save_to_disk(tmp_path / "x")
    (tmp_path / "x" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "../one"]}))
    with pytest.raises(DataError, match=r"no split '\.\./one'"):
        unveil.load(tmp_path / "x")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"_data_files": []}', '{"_data_files": [7]}', "{}"])
def test_notes_that_cannot_be_read(tmp_path, text):
    folder = write_arrow(tmp_path / "x", [{"bytes": encoded(one), "path": None} for one in pixels(20)])
    (folder / "state.json").write_text(text)
    with pytest.raises(DataError, match=r"write (it|the folder) anew by save_to_disk"):
        unveil.load(folder)


def test_mutated_folders_give_the_projects_own_error_or_images(tmp_path):
    folder = write_arrow(tmp_path / "x", [{"bytes": encoded(one), "path": None} for one in pixels(12)])
    whole, source, said = (folder / "data.arrow").read_bytes(), random.Random(0), []
    for _ in range(MUTATIONS):
        mutant = bytearray(whole)
        for _ in range(source.choice([1, 2, 8])):
            mutant[source.randrange(len(mutant))] = source.choice([0, 255, source.randrange(256)])
        if source.random() < 0.2:
            del mutant[source.randrange(len(mutant)) :]
        (folder / "data.arrow").unlink()  # a file that is mapped is not written over
        (folder / "data.arrow").write_bytes(mutant)
        try:
            unveil.load(folder).whole().values[:]
        except DataError as error:
            said.append(str(error))
    assert not [one for one in said if "\n" in one]
    assert len(said) < MUTATIONS


def test_a_streaming_dataset_is_refused():
    with pytest.raises(DataError, match="may fetch what it gives from a network; write it to a folder"):
        unveil.load(hugging().to_iterable_dataset())


def test_other_mistakes():
    with pytest.raises(DataError, match="no split 'unsupervised'"):
        unveil.load(datasets.DatasetDict(train=hugging(), unsupervised=hugging()))
    with pytest.raises(DataError, match=r"Dataset \(test\) has other columns than Dataset \(train\)"):
        unveil.load({"train": hugging(), "test": hugging(image="scan")})
    with pytest.raises(DataError, match="brings its own labels"):
        unveil.load(hugging(), np.zeros(60))
    with pytest.raises(DataError, match="datasets cannot take levels"):
        unveil.load(hugging(), levels=3)


def test_what_memory_has_no_room_for_stays_in_the_table(tmp_path, monkeypatch):
    hugging().save_to_disk(tmp_path / "one")
    here = unveil.load(tmp_path / "one")
    monkeypatch.setattr("unveil.data.images.survey.ROOM", 1e-9)
    there = unveil.load(tmp_path / "one")
    assert isinstance(there.train.values, Store)
    assert isinstance(here.train.values, torch.Tensor)
    assert there.fingerprint == here.fingerprint


def test_a_folder_is_read_without_the_package_and_without_a_network(tmp_path):
    hugging().save_to_disk(tmp_path / "one")
    program = f"""
        import socket, sys
        socket.socket.connect = socket.getaddrinfo = None
        sys.modules["datasets"] = None
        import unveil
        print(unveil.load({str(tmp_path / "one")!r}).fingerprint)
    """
    found = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == unveil.load(hugging()).fingerprint


def test_the_terminal_reads_such_folders(tmp_path):
    datasets.DatasetDict(train=hugging(), test=hugging(20, seed=1)).save_to_disk(tmp_path / "pets")
    command = [sys.executable, "-m", "unveil", "inspect", "pets"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "54 train, 6 validation, 20 test" in found
    assert "3 classes by name: cat, dog, cow" in found


def test_the_same_images_are_the_same_data_in_a_table_and_in_a_folder(tmp_path):
    for place, image in enumerate(pixels(60)):
        (tmp_path / "pets" / "train" / NAMES[place % 3]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "pets" / "train" / NAMES[place % 3] / f"{place:02}.png")
    write_tar(tmp_path / "shards" / "a.tar", pixels(60))
    order = [place for kind in (0, 2, 1) for place in range(60) if place % 3 == kind]  # cat, cow, dog
    values = unveil.load(tmp_path / "pets").whole().values.numpy()[:, 0]
    assert (values == pixels(60)[order]).all()

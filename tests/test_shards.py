"""Folders of shards: what is in them is what is trained on, bit by bit, in an order of which any place is found at once."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from helpers.shards import MAKE, add, encoded, parquet_folder, pixels, tar_folder, write_parquet, write_tar

import unveil
from unveil.data import Feed, Looks, order, scratch
from unveil.data.shards import parquet, tar
from unveil.errors import DataError

CPU = torch.device("cpu")


@pytest.fixture(params=MAKE)
def kind(request):
    return request.param


@pytest.fixture
def anew(monkeypatch):
    """There is no room for decoded images on the disk: each is decoded anew."""
    monkeypatch.setattr(scratch, "SHARE", 0)


def read(data):
    return data.whole().values[:].numpy(), data.whole().labels.numpy()


def test_what_is_in_the_shards_is_what_is_trained_on(tmp_path, kind):
    images, labels = MAKE[kind](tmp_path)
    found = unveil.load(tmp_path)
    values, marks = read(found)
    assert (values[:, 0] == images).all()
    assert (marks == labels).all()
    assert str(found.space) == "1x6x5, integers from 0 to 255, counted"
    assert len(found.validation) == len(found.test) == 12
    assert not found.bad


def test_the_same_images_are_the_same_data_in_whatever_shards_they_lie(tmp_path):
    tar_folder(tmp_path / "four")
    tar_folder(tmp_path / "two", shards=2)
    parquet_folder(tmp_path / "parquet")
    parquet_folder(tmp_path / "bytes", records=False, group=7)
    assert len({unveil.load(tmp_path / name).fingerprint for name in ("four", "two", "parquet", "bytes")}) == 1
    images, labels = pixels(120), [int(label) for label in np.arange(120) % 3]
    images[77, 0, 0] ^= 1
    write_tar(tmp_path / "other" / "a.tar", images, labels)
    assert unveil.load(tmp_path / "other").fingerprint != unveil.load(tmp_path / "four").fingerprint


def test_colours_and_measures(tmp_path):
    images, _ = tar_folder(tmp_path, channels=3)
    found = unveil.load(tmp_path, measure="unit")
    assert (read(found)[0] == images.transpose(0, 3, 1, 2)).all()
    assert found.space.measure == "unit"
    assert unveil.load(tmp_path, size=(4, 4), channels=1).space.shape == (1, 4, 4)


def test_two_toned_images_are_binarised(tmp_path):
    write_tar(tmp_path / "a.tar", np.where(pixels(60) > 130, 255, 0).astype(np.uint8))
    assert unveil.load(tmp_path).space.measure == "binary"


@pytest.mark.parametrize("names", [("train/a.tar", "test/a.tar"), ("train-00000.tar", "test-00000.tar")])
def test_splits_by_the_names_of_shards(tmp_path, names):
    images = pixels(60)
    write_tar(tmp_path / names[0], images[:40])
    write_tar(tmp_path / names[1], images[40:])
    found = unveil.load(tmp_path)
    assert (found.test.values[:].numpy()[:, 0] == images[40:]).all()
    assert len(found.train) + len(found.validation) == 40


def test_labels_of_every_kind(tmp_path):
    images = pixels(30)
    write_tar(tmp_path / "json" / "a.tar", images, list(range(30)), kind="json")
    assert (read(unveil.load(tmp_path / "json"))[1] == np.arange(30)).all()
    write_tar(tmp_path / "text" / "a.tar", images, ["dog", "cat", "cow"] * 10)
    found = unveil.load(tmp_path / "text")
    assert found.classes == ("cat", "cow", "dog")
    assert (read(found)[1] == np.array([2, 0, 1] * 10)).all()
    write_parquet(tmp_path / "named" / "a.parquet", images, [0, 1] * 15, names=["cat", "dog"])
    assert unveil.load(tmp_path / "named").classes == ("cat", "dog")
    write_tar(tmp_path / "none" / "a.tar", images)
    assert unveil.load(tmp_path / "none").train.labels is None
    write_tar(tmp_path / "some" / "a.tar", images[:20], list(range(20)))
    write_tar(tmp_path / "some" / "b.tar", images[20:])
    found = unveil.load(tmp_path / "some")
    assert found.train.labels is None
    assert "10 of 30 images have no label, so none are taken" in found.notes


def test_columns_are_chosen_and_kept_for_the_next_time(tmp_path):
    _, labels = parquet_folder(tmp_path, image="scan", label="kind")
    with pytest.raises(DataError, match="has scan, kind, and none is called 'image' or 'x'; name one by image_column"):
        unveil.load(tmp_path)
    found = unveil.load(tmp_path, image_column="scan", label_column="kind")
    assert (read(found)[1] == labels).all()
    assert found.options["image_column"] == "scan"
    with pytest.raises(DataError, match="'kind' of type int64, which is no encoded image"):
        unveil.load(tmp_path, image_column="kind")
    run = unveil.train(found, epochs=1, batch_size=20, latent=2, out=tmp_path / "run")
    assert unveil.open(run.path).load_data().fingerprint == found.fingerprint


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
@pytest.mark.parametrize("share", [0, 0.1])
def test_batches_are_those_of_an_array_visited_in_that_order(tmp_path, kind, workers, share, monkeypatch):
    monkeypatch.setattr(scratch, "SHARE", share)
    images, _ = MAKE[kind](tmp_path)
    data = unveil.load(tmp_path)
    feed = Feed(data.train, 16, 5, CPU, workers)
    for step in [0, 1, 2, 3, 11, 12, 7, 7]:
        expected = images[data.train.rows[feed.positions(step)].numpy()]
        assert (feed.batch(step).x.numpy()[:, 0] == expected).all()
    rows = torch.cat([batch.index for batch in Looks(data.validation, 5, 0, workers)])
    assert torch.equal(rows, data.validation.rows)


def test_the_run_is_the_same_to_the_byte_whoever_reads(tmp_path, kind, monkeypatch):
    MAKE[kind](tmp_path / "shards")
    ends = set()
    for workers, share in ((0, 0), (1, 0), (2, 0), (4, 0), (0, 0.1), (2, 0.1)):
        monkeypatch.setattr(scratch, "SHARE", share)
        out = tmp_path / f"run{workers}{share}"
        data = unveil.load(tmp_path / "shards")
        unveil.train(data, epochs=2, batch_size=16, latent=2, workers=workers, out=out)
        ends.add((out / "model.safetensors").read_bytes() + (out / "metrics.jsonl").read_bytes())
    assert len(ends) == 1


def test_few_row_groups_are_kept(tmp_path, monkeypatch, anew):
    monkeypatch.setattr(parquet, "KEPT", 1)
    monkeypatch.setattr(order, "WINDOW", 1)
    parquet_folder(tmp_path, group=10)
    data = unveil.load(tmp_path)
    shelf = data.train.values.source.shelf
    feed = Feed(data.train, 16, 5, CPU, 2)
    for step in range(30):
        feed.batch(step)
        assert len(shelf._kept) <= 2


def test_a_row_group_too_large_to_be_held_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "GROUP", 100)
    parquet_folder(tmp_path)
    with pytest.raises(DataError, match=r"part-0\.parquet has a row group of .* bytes, .*smaller row groups"):
        unveil.load(tmp_path)


def test_what_was_decoded_is_kept_on_the_disk_until_the_process_ends(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images, _ = tar_folder(tmp_path / "a")
    data = unveil.load(tmp_path / "a")
    for path in (tmp_path / "a").iterdir():
        path.unlink()
    assert (read(data)[0][:, 0] == images).all()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_full_disk_is_no_end(tmp_path, monkeypatch):
    def full(self, row):
        if self.count == 50:
            raise OSError("no space left on device")
        add(self, row)

    add = scratch.Scratch.add
    monkeypatch.setattr(scratch.Scratch, "add", full)
    images, _ = tar_folder(tmp_path)
    assert (read(unveil.load(tmp_path))[0][:, 0] == images).all()


def test_what_changes_while_it_is_in_use_is_seen(tmp_path, anew):
    tar_folder(tmp_path / "a", shards=1)
    data = unveil.load(tmp_path / "a")
    other = pixels(120, seed=0)
    other[:, 2, 2] ^= 1  # as many bytes, nearly the same image
    write_tar(tmp_path / "a" / "part-0000.tar", other, [int(one) for one in np.arange(120) % 3])
    with pytest.raises(DataError, match="is not what it was when all were looked at"):
        data.train.values[:]
    (tmp_path / "a" / "part-0000.tar").unlink()
    with pytest.raises(DataError, match="is not what it was"):
        Feed(data.train, 8, 0, CPU, 2).batch(0)


def test_bad_images_are_named_and_left_out_or_stop_everything(tmp_path):
    images = pixels(40)
    with tar.tarfile.open(tmp_path / "a.tar", "w") as archive:
        for place, image in enumerate(images):
            content = encoded(image)
            broken = {3: content[:60], 5: b"no image", 7: b""}.get(place, content)
            add(archive, f"{place:03}.png", broken)
            add(archive, f"{place:03}.cls", b"?\x00" if place == 9 else b"1")
        add(archive, "readme.txt", b"hello")
    (tmp_path / "b.tar.gz").write_bytes(b"packed")
    found = unveil.load(tmp_path)
    said = "archives, left alone: b.tar.gz; write them anew as .tar files without compression to be read"
    assert said in found.notes
    assert [path for path, _ in found.bad] == [f"a.tar: {name}" for name in ("003.png", "005.png", "007.png", "009.cls")]
    assert "damaged" in found.bad[0][1] or "truncated" in found.bad[0][1]
    assert (read_values(found) == np.delete(images, [3, 5, 7], 0)).all()
    assert any(note.startswith("left alone, since their names are of other kinds: 1 file") for note in found.notes)
    with pytest.raises(DataError, match=r"holds 4 bad files of 41: a\.tar: 003\.png: .*; mend them"):
        unveil.load(tmp_path, bad_files="stop")


def read_values(data):
    return data.whole().values[:].numpy()[:, 0]


def test_rows_without_an_image_are_bad(tmp_path):
    images = list(pixels(30))
    images[4] = None
    write_parquet(tmp_path / "a.parquet", images, group=10)
    found = unveil.load(tmp_path)
    assert found.bad == (("a.parquet group 0 row 4", "there is no image"),)
    assert len(found.whole()) == 29


def test_other_mistakes(tmp_path):
    write_tar(tmp_path / "both" / "a.tar", pixels(9))
    write_parquet(tmp_path / "both" / "a.parquet", pixels(9))
    with pytest.raises(DataError, match="holds tar and Parquet files; keep one kind"):
        unveil.load(tmp_path / "both")
    write_tar(tmp_path / "few" / "a.tar", pixels(2))
    with pytest.raises(DataError, match="2 examples cannot be parted"):
        unveil.load(tmp_path / "few")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"holds no images that can be read: a\.tar: it is no tar file"):
        unveil.load(tmp_path / "none")
    with pytest.raises(DataError, match="'unit' or 'levels', not as 'real'"):
        unveil.load(write_tar(tmp_path / "real" / "a.tar", pixels(30)).parent, measure="real")


def test_a_file_of_images_beside_shards_makes_it_a_folder_of_images(tmp_path):
    tar_folder(tmp_path)
    for place, image in enumerate(pixels(30, height=4)):
        (tmp_path / f"{place}.png").write_bytes(encoded(image))
    assert unveil.load(tmp_path).space.shape == (1, 4, 5)


@pytest.mark.parametrize("share", [0, 0.1])
def test_memory_is_flat_over_many_epochs(tmp_path, share):
    """13 MB of decoded images: seven epochs leave less behind than a third of one."""
    images = np.random.default_rng(0).integers(0, 256, (300, 1, 1, 3)).astype(np.uint8).repeat(120, 1).repeat(120, 2)
    for shard in range(6):
        write_tar(tmp_path / f"{shard}.tar", images[50 * shard : 50 * (shard + 1)])
    program = f"""
        import resource, torch, unveil
        from unveil.data import Feed, scratch
        scratch.SHARE = {share}
        data = unveil.load({str(tmp_path)!r})
        feed = Feed(data.train, 20, 0, torch.device("cpu"), 2)
        said = []
        for step in range(12 * 10):
            feed.batch(step)
            if step in (2 * 12, 9 * 12):
                said.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        print(said[1] - said[0])
    """
    found = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 4_000  # KB


@pytest.mark.parametrize("kind", [bool, float])
def test_labels_of_parquet_files_are_truth_values_and_whole_floats_too(tmp_path, kind):
    write_parquet(tmp_path / "a.parquet", pixels(40), [kind(place % 2) for place in range(40)])
    assert unveil.load(tmp_path).whole().labels.tolist() == [place % 2 for place in range(40)]


def test_that_no_label_can_be_read_is_said(tmp_path):
    write_parquet(tmp_path / "a.parquet", pixels(40), [0.5] * 40)
    found = unveil.load(tmp_path)
    assert found.train.labels is None
    assert "40 of 40 images have no label, so none are taken" in found.notes

"""Shards of an enemy: every one is refused in one of the project's own sentences, or what is sound in it is read."""

import os
import pickle
import random
import tarfile
import tracemalloc
import zlib

import numpy as np
import pytest
from helpers.shards import add, encoded, pixels, write_parquet, write_tar

import unveil
from unveil.data.shards import labels, parquet, tar
from unveil.errors import DataError

MUTATIONS = int(os.environ.get("UNVEIL_MUTATIONS", "1000")) // 10
"""In `./run test`; `./run torture` makes ten times as many."""
ONE = encoded(pixels(1)[0])


def load_with(folder, *members, good=20):
    """A tar file with sound images and, in their midst, these members."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for place, image in enumerate(pixels(good)):
            add(archive, f"{place:03}.png", encoded(image))
            for name, content, facts in members if place == 10 else ():
                add(archive, name, content, **facts)
    return unveil.load(folder)


@pytest.mark.parametrize(
    ("name", "facts", "said"),
    [
        ("../../evil.png", {}, "its name leads elsewhere"),
        ("/etc/evil.png", {}, "its name leads elsewhere"),
        ("a\\evil.png", {}, "its name leads elsewhere"),
        ("a" * 2_000 + ".png", {}, "its name leads elsewhere or is too long"),
        ("evil\n\x1b[2J.png", {}, "characters that are not printed"),
        ("evil\udcff.png", {}, "characters that are not printed"),
        ("link.png", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "size": 0}, "no regular file"),
        ("hard.png", {"type": tarfile.LNKTYPE, "linkname": "000.png", "size": 0}, "no regular file"),
        ("pipe.png", {"type": tarfile.FIFOTYPE, "size": 0}, "no regular file"),
        ("device.png", {"type": tarfile.CHRTYPE, "size": 0}, "no regular file"),
        ("000.png", {}, "an image of that key already"),
        ("000.jpg", {}, "an image of that key already"),
    ],
)
def test_members_that_are_no_images_of_their_own_are_named(tmp_path, name, facts, said):
    found = load_with(tmp_path / "x", (name, ONE if facts.get("size", 1) else b"", facts))
    assert len(found.whole()) == 20
    ((path, reason),) = found.bad
    assert said in reason
    assert path.isprintable()
    assert not any("evil" in str(place) for place in tmp_path.rglob("*"))


def test_members_that_are_too_large_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tar, "LARGEST", len(ONE) + 1_000)
    found = load_with(tmp_path / "x", ("large.png", bytes(len(ONE) + 2_000), {}), ("large.cls", b"1" * 70_000, {}))
    assert [path for path, _ in found.bad] == ["a.tar: large.cls", "a.tar: large.png"]
    assert all("bytes, where 1 to" in reason for _, reason in found.bad)


def test_a_file_that_ends_in_the_middle_keeps_what_was_before(tmp_path):
    load_with(tmp_path / "x")
    whole = (tmp_path / "x" / "a.tar").read_bytes()
    (tmp_path / "x" / "a.tar").write_bytes(whole[: 15 * 1024 + 520])  # within the 16th image
    found = unveil.load(tmp_path / "x")
    assert len(found.whole()) == 15
    assert dict(found.bad)["a.tar: 015.png"] == "the file ends within it"


def test_what_is_no_header_is_no_end(tmp_path):
    load_with(tmp_path / "x")
    whole = bytearray((tmp_path / "x" / "a.tar").read_bytes())
    whole[10 * 1024 + 148 : 10 * 1024 + 156] = b"99999999"  # the eleventh header's sum
    (tmp_path / "x" / "a.tar").write_bytes(whole)
    found = unveil.load(tmp_path / "x")
    assert len(found.whole()) == 10
    assert found.bad == (("a.tar", "it is no tar file, is compressed, or is damaged; what lies before the damage is read"),)


def test_members_that_lead_back_end(tmp_path):
    folder = tmp_path / "x"
    load_with(folder)
    header = tarfile.TarInfo("back.png")
    raw = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    raw[124:136] = b"\xff" * 8 + (-1536).to_bytes(4, "big", signed=True)  # the size, in base 256: back to the header before
    raw[148:156] = b"%06o\0 " % (256 + sum(raw[:148]) + sum(raw[156:512]))
    whole = (folder / "a.tar").read_bytes()
    (folder / "a.tar").write_bytes(whole[: 12 * 1024] + bytes(raw) + whole[12 * 1024 :])
    found = unveil.load(folder)
    assert len(found.whole()) == 12
    assert "damaged" in dict(found.bad)["a.tar"]


def test_sparse_and_compressed_files_are_refused(tmp_path):
    header = tarfile.TarInfo("hole.png")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 0
    found = load_with(tmp_path / "x", ("hole.png", b"", {"type": tarfile.GNUTYPE_SPARSE}))
    assert dict(found.bad) == {"a.tar: hole.png": "it is no regular file"}
    with tarfile.open(tmp_path / "x" / "b.tar", "w:gz") as archive:
        add(archive, "a.png", ONE)
    assert "is compressed" in dict(unveil.load(tmp_path / "x").bad)["b.tar"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b'{"label": [1]}', b'{"label": 1e99}', b'{"label": NaN}', b"[" * 60_000, b'"x"', b"{}", b"null"],
)
def test_labels_in_json_that_are_none(tmp_path, content):
    found = load_with(tmp_path / "x", ("003.json", content, {}))
    assert [path for path, _ in found.bad] == ["a.tar: 003.json"]


def test_labels_that_are_no_classes():
    wrong = [
        "",
        " ",
        "a\nb",
        "x" * 101,
        2**40,
        -(2**40),
        str(2**40),
        "9" * 5_000,
        1.5,
        float("nan"),
        2.0**40,
        None,
        [1],
        "\x00",
        "--1",
    ]
    assert [one for one in wrong if labels.as_label(one) is not None] == ["--1"]
    right = {" 7 ": 7, "-1": -1, 3: 3, "cat": "cat", True: 1, 2.0: 2}
    assert {one: labels.as_label(one) for one in right} == right


def test_links_to_shards_are_followed_once_and_pipes_are_not_opened(tmp_path):
    write_tar(tmp_path / "x" / "a.tar", pixels(30))
    (tmp_path / "x" / "b.tar").symlink_to(tmp_path / "x" / "a.tar")
    (tmp_path / "x" / "c.tar").symlink_to(tmp_path / "gone.tar")
    os.mkfifo(tmp_path / "x" / "d.tar")
    found = unveil.load(tmp_path / "x")
    assert len(found.whole()) == 30
    assert dict(found.bad) == {"c.tar": "no such file or directory", "d.tar": "it is no regular file"}


def test_an_image_that_claims_to_be_gigabytes_is_not_decoded(tmp_path):
    bomb = bytearray(encoded(np.zeros((2, 2), np.uint8)))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")
    found = load_with(tmp_path / "x", ("bomb.png", bytes(bomb), {}))
    assert "its pixels are more than 67,108,864" in dict(found.bad)["a.tar: bomb.png"]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_mutated_shards_give_the_projects_own_error_or_images(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "tar":
        write_tar(path, pixels(12), list(range(12)))
    else:
        write_parquet(path, pixels(12), list(range(12)), group=5)
    whole, source, said = path.read_bytes(), random.Random(0), []
    for _ in range(MUTATIONS):
        mutant = bytearray(whole)
        for _ in range(source.choice([1, 2, 8])):
            mutant[source.randrange(len(mutant))] = source.choice([0, 255, source.randrange(256)])
        if source.random() < 0.2:
            del mutant[source.randrange(len(mutant)) :]
        path.write_bytes(mutant)
        try:
            found = unveil.load(tmp_path)
            found.whole().values[:]
        except DataError as error:
            said.append(str(error))
    assert not [one for one in said if "\n" in one]
    assert len(said) < MUTATIONS  # some are read in part


def test_a_parquet_file_that_is_none_is_named(tmp_path):
    write_parquet(tmp_path / "a.parquet", pixels(30))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 but no more")
    found = unveil.load(tmp_path)
    assert found.bad == (("b.parquet", "it is no Parquet file, or is damaged; what lies before the damage is read"),)
    assert len(found.whole()) == 30


def test_nothing_is_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "evil"), "w"))

    content = pickle.dumps(Evil())
    found = load_with(tmp_path / "x", ("a.pkl", content, {}), ("b.png", content, {}), ("005.cls", content, {}))
    assert {path for path, _ in found.bad} == {"a.tar: b.png", "a.tar: 005.cls"}
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_headers_that_state_a_great_size_are_not_read(tmp_path, kind):
    load_with(tmp_path / "x")
    header = tarfile.TarInfo("long")
    header.type, header.size = kind, 2**26
    with (tmp_path / "x" / "a.tar").open("r+b") as file:
        file.seek(10 * 1024)  # of the eleventh image
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**27)  # a hole, which takes no room on the disk
    tracemalloc.start()
    found = unveil.load(tmp_path / "x")
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    assert len(found.whole()) == 10
    assert "is damaged; what lies before the damage is read" in dict(found.bad)["a.tar"]


@pytest.mark.parametrize("kind", ["binary", "large_binary", "records"])
def test_what_a_row_group_repeats_is_held_once(tmp_path, kind):
    import pyarrow
    import pyarrow.parquet

    cells = [bytes(2**18)] * 100
    column = pyarrow.array(cells, pyarrow.binary() if kind == "records" else getattr(pyarrow, kind)())
    column = pyarrow.StructArray.from_arrays([column], ["bytes"]) if kind == "records" else column
    pyarrow.parquet.write_table(pyarrow.table({"x": column}), tmp_path / "a.parquet")
    found = parquet._images(tmp_path / "a.parquet", 0, ("x", kind == "records"))
    assert found[99].as_py() == cells[0]
    assert found.nbytes < 2**20

"""Files that are no tables, or bad ones: each is one sentence that names file, line and column, and says what to do."""

import random

import numpy as np
import pytest

import unveil
from unveil.data.tables import SUFFIXES
from unveil.data.tables.kinds import KINDS
from unveil.data.tables.text import check_names
from unveil.errors import DataError, UnveilError, at_terminal
from unveil.recipes import recipe

GOOD = "a,b\n1.5,x\n2.5,y\n3.5,x\n4,y\n"


def written(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


BAD = {
    "": "is empty; give a header",
    " \n\n": "is empty",
    b"\xef\xbb\xbf": "no names in its first line|is empty",
    "1,2\n3,4\n": "has no header: its first line begins with '1'",
    "a,b\n": "has no rows below its header",
    "a,b\n1,2\n3\n": "line 3: 1 cell under 2 names",
    "a,b\n1,2\n3,4,5\n": "line 3: 3 cells under 2 names",
    "a,b\n1,2\n3,x\n4,5\n": "line 3: column 'b' holds 'x' beside numbers as '2'; correct it, .*--columns 'b=categorical'",
    "a,a\n1,2\n": "columns 1 and 2 are both named 'a'; name each differently",
    ",a\n0,2\n": "column 1 has no name; name it, or leave it out",
    "a\n1\n1.0\n": "no column to learn from: column 'a' is left out: it is constant .1.",
    "a\nk\nk\n": "no column to learn from: column 'a' is left out: it is constant",
    "a,b\n1,x\n2,y\ninf,x\n": "line 4: column 'a' holds 'inf', which is not finite",
    "a,b\n1,x\n-Infinity,y\n2,x\n": "line 3: column 'a' holds '-Infinity', which is not finite",
    "a,b\n1,x\n1e400,y\n2,x\n": "line 3: column 'a' holds '1e400', which is not finite",
    "a,b\n1,x\n1e38,y\n2,x\n": "line 3: column 'a' holds '1e38', and numbers here are smaller than 1e.37",
    "a;b\n1,5;x\n2,5;y\n": "line 2: column 'a' holds '1,5'; write numbers with a decimal point",
    "a;b\n1;x\n2,5;y\n": "line 3: column 'a' holds '2,5'; write numbers with a decimal point",
    'a,b\n"1,234.5",x\n"2,000",y\n': "line 2: column 'a' holds '1,234.5'; write numbers with a decimal point",
    "a;b\n1.234,5;x\n2.000,7;y\n": "line 2: column 'a' holds '1.234,5'; write",
    "a,b\n1 234,x\n2 000,y\n": "line 2: column 'a' holds '1 234'; write",
    "a,b\n1_000,x\n2,y\n3,x\n": "line 2: column 'a' holds '1_000' beside numbers",
    b"a,b\n1,x\n2,caf\xe9\n": "line 3: byte 0xe9 is not UTF-8; save the file as UTF-8",
    "a,b\n1,x\n".encode("utf-16"): "UTF-16; save it as UTF-8",
    b"a,b\n1,x\n2,\0y\n": "line 3: there is a NUL byte",
    'a,b\n1,x\n2,"y\n3,x\n4,y\n': "line 3: the quotes do not match up",
    'a,b\n1,x\n2,"y"z\n': "line 3: the quotes do not match up",
    'a,b\n1,x\n2,"' + "y" * 200_000 + '"\n': "line 3: a cell is longer than 131,072 characters",
    '"a,b\n1,x\n': "line 1: the quotes do not match up",
}


@pytest.mark.parametrize("content", BAD, ids=[words[:40] for words in BAD.values()])
def test_what_is_no_table_is_refused_in_a_sentence(tmp_path, content):
    path = written(tmp_path, content)
    with pytest.raises(DataError, match=BAD[content]) as caught:
        unveil.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"drop": ["c"]}, "there is no column of .* 'c'; known: a, b"),
        ({"label": "c"}, "there is no column of .* 'c'; known: a, b"),
        ({"split": "b"}, "line 2: column 'b' is the split and holds 'x'; write train, validation or test"),
        ({"columns": ["b"]}, "'b' gives no column a kind; write NAME=KIND, as in age=real"),
        ({"columns": ["c=real"]}, "there is no column of .* 'c'"),
        (
            {"columns": ["a=float"]},
            "there is no kind of column for 'a' 'float'; known: categorical, count, ordinal, positive",
        ),
        ({"columns": ["b=real"]}, "line 2: column 'b' holds 'x'"),
        ({"columns": ["b=ordinal"]}, "line 2: column 'b' holds 'x', and the order of words is not known"),
        ({"columns": ["a=count"]}, "line 2: column 'a' holds '1.5', and is to be count, whole numbers from 0"),
        ({"measure": "real"}, "is a table, whose columns have"),
        ({"levels": 3}, "cannot take levels; .*it takes columns, drop, label, split"),
        ({"drop": ["a", "b"]}, "no column to learn from: all are labels, splits or dropped"),
        ({"label": "a", "drop": ["b"]}, "no column to learn from"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, options, words):
    path = written(tmp_path, GOOD)
    with pytest.raises(UnveilError, match=words) as caught:
        unveil.load(path, **options)
    assert "\n" not in str(caught.value)


def test_positive_columns_are_above_zero_and_labels_are_complete(tmp_path):
    for word in ("0", "-1", "1e-320"):
        path = written(tmp_path, f"a,y\n1.5,u\n{word},v\n2.5,\n3.5,u\n")
        with pytest.raises(DataError, match=f"line 3: column 'a' holds '{word}', and is to be positive"):
            unveil.load(path, columns=["a=positive"])
    with pytest.raises(DataError, match="line 4: column 'y' is the label, and says nothing"):
        unveil.load(path, label="y")
    many = written(tmp_path, "a,y\n" + "".join(f"{i / 7},{i / 3}\n" for i in range(2_000)), "many.csv")
    with pytest.raises(DataError, match="column 'y' has 2,000 different values; classes are at most 1,000"):
        unveil.load(many, label="y")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_folders_and_files_that_are_not_there_are_named(tmp_path, suffix):
    with pytest.raises(DataError, match="is not there; check the name"):
        unveil.load(tmp_path / f"none{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(DataError, match="is a folder; name a file in it"):
        unveil.load(tmp_path / f"folder{suffix}")


def test_lines_are_counted_where_cells_hold_line_ends(tmp_path):
    path = written(tmp_path, 'a,b\n1,"x\ny"\n\n2,"z\n\nu"\nthree,"x\ny"\n4,x\n')
    with pytest.raises(DataError, match="line 8: column 'a' holds 'three'"):
        unveil.load(path)


NUMBERS = ["", "NA", "-nan", "0", "1", "00012", "+5", "1.", "-.5", "1e-320", "1e36", "9007199254740993", "٣"]
ODD = [*NUMBERS, "½", "0x10", "a", '"b\nc"']


@pytest.mark.parametrize("seed", range(8))
def test_whatever_a_file_holds_it_is_a_sound_table_or_a_sentence(tmp_path, seed):
    source, read, sentences = random.Random(seed), 0, []
    for _ in range(60):
        pools = [source.sample(source.choice([NUMBERS, ODD]), 5) for _ in range(source.randint(1, 4))]
        lines = [",".join(f"c{place}" for place in range(len(pools)))]
        lines += [",".join(map(source.choice, pools)) for _ in range(source.randint(0, 30))]
        content = bytearray("\n".join(lines).encode())
        for _ in range(source.choice([0, 0, 3])):
            content[source.randrange(len(content))] = source.randrange(256)
        options = {"columns": {"c0": source.choice(KINDS)}} if source.random() < 0.3 else {}
        try:
            data = unveil.load(written(tmp_path, bytes(content)), **options)
        except UnveilError as error:
            sentences.append(str(error))
            continue
        read += 1
        values = data.whole().values
        assert not values.isinf().any()
        model, _ = recipe("table").given(hidden=(4,), latent=2).compose(data)
        # a number of 1e36 that training does not have is too improbable to be written down, and still no NaN
        assert not model.draw(next(data.whole().batches(50, 0))).log_px.isnan().any()
    assert read > 1
    assert not any("\n" in one or len(one) > 500 for one in sentences)


pyarrow = pytest.importorskip("pyarrow")


def parquet(tmp_path, **columns):
    from pyarrow import parquet

    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    return path


def test_parquet_reads_as_csv_does(tmp_path):
    n = 40
    path = parquet(
        tmp_path,
        n=[i * i if i % 4 else None for i in range(n)],
        x=pyarrow.array([i / 3 if i % 5 else float("nan") for i in range(n)], pyarrow.float32()),
        c=pyarrow.array(["x" if i % 2 else "y" for i in range(n)]).dictionary_encode(),
        b=[None if i % 7 == 0 else i % 3 == 0 for i in range(n)],
        d=pyarrow.array([2 * i for i in range(n)], pyarrow.int32()).cast(pyarrow.decimal128(12, 2)),
        big=[2**60 + i * 2**40 for i in np.random.default_rng(0).permutation(n).tolist()],
        none=pyarrow.nulls(n),
    )
    data = unveil.load(path)
    found = {field.name: (field.kind, field.words) for field in data.columns}
    assert found == {
        "n": ("count", ()),
        "x": ("real", ()),
        "c": ("categorical:2", ("x", "y")),
        "b": ("categorical:2", ("false", "true")),
        "d": ("count", ()),
    } | ({"big": ("real", ())} if "big" in found else {})
    whole = data.whole().values
    assert whole[:, 0].isnan().nonzero().flatten().tolist() == list(range(0, n, 4))
    assert whole[:, 1].isnan().nonzero().flatten().tolist() == list(range(0, n, 5))
    assert whole[:, 3].isnan().nonzero().flatten().tolist() == list(range(0, n, 7))
    assert whole[1, [0, 2, 3, 4]].tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ([[1], [2], [3]], "column 'bad' holds nested values"),
        ([{"a": 1}, {"a": 2}, {"a": 3}], "column 'bad' holds nested values"),
        (np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "datetime64[ns]"), "column 'bad' holds dates or times"),
        ([b"a", b"b", b"c"], "column 'bad' holds values of type binary"),
        ([1.0, float("inf"), 2.0], "row 2: column 'bad' holds 'inf', which is not finite"),
    ],
)
def test_parquet_columns_that_are_no_cells_are_refused_or_dropped(tmp_path, column, words):
    path = parquet(tmp_path, a=[1.5, 2.5, 3.5], bad=column)
    with pytest.raises(DataError, match=words) as caught:
        unveil.load(path)
    assert "\n" not in str(caught.value)
    assert [field.name for field in unveil.load(path, drop=["bad"]).columns] == ["a"]


def test_all_columns_that_are_no_cells_are_named_at_once(tmp_path):
    days = np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "datetime64[ns]")
    path = parquet(tmp_path, **{"a": [1.5, 2.5, 3.5], "born": days, "b": [1.5, 2.5, 3.5], "seen on": days})
    with pytest.raises(DataError, match=r"column 'born' holds dates .*, column 'seen on' holds dates") as caught:
        unveil.load(path)
    assert "give drop=('born', 'seen on'), or write them as" in str(caught.value)
    with at_terminal(), pytest.raises(DataError, match="give --drop born 'seen on', or"):
        unveil.load(path)
    text = "a,b,c,d\n1,1,1,x\n2,2,2,y\n1/2/20,x,3,x\n"
    with pytest.raises(DataError, match=r"line 4: column 'a' holds '1/2/20' beside .*; cells to correct are also in: 'b'$"):
        unveil.load(written(tmp_path, text))


def test_damaged_parquet_files_are_said_to_be(tmp_path):
    whole = parquet(tmp_path, a=[i / 3 for i in range(1_000)], b=["u", "v"] * 500).read_bytes()
    for cut in (b"", b"PAR1", whole[:100], whole[:-10], b"\0" * 500 + whole[500:], GOOD.encode()):
        with pytest.raises(DataError, match=r"is no Parquet file|is damaged") as caught:
            unveil.load(written(tmp_path, cut, "cut.parquet"))
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="has no rows"):
        unveil.load(parquet(tmp_path, a=pyarrow.array([], pyarrow.float64())))


def test_names_are_compared_about_once_each(tmp_path):
    class Name(str):
        compared = 0
        __hash__ = str.__hash__

        def __eq__(self, other):
            Name.compared += 1
            return str.__eq__(self, other)

    names = [Name(f"name {place}") for place in range(2_000)]
    assert check_names(tmp_path, names, names[:1_000]) == names
    assert Name.compared < 10_000
    with pytest.raises(DataError, match="columns 1 and 2001 are both named"):
        check_names(tmp_path, [*names, Name("name 0")], ())


def test_a_small_file_with_many_rows_is_refused_where_memory_has_no_room(tmp_path, monkeypatch):
    path = parquet(tmp_path, a=["x" * 1_000, "y"] * 50_000)
    assert path.stat().st_size < 2**18
    monkeypatch.setattr("unveil.hardware.free_memory", lambda: 2**23)
    with pytest.raises(DataError, match="more than memory has room for; give some of them"):
        unveil.load(path)

"""Tables from CSV and Parquet files: kinds, values, gaps, labels and splits."""

import numpy as np
import pytest
import torch

import unveil
from unveil.data import Field, load_like
from unveil.data.tables import by_name
from unveil.errors import DataError, at_terminal

SOURCE = np.random.default_rng(0)


def written(tmp_path, text, encoding="utf-8", name="t.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return path


def of(tmp_path, **columns):
    """A file with these columns."""
    rows = zip(*columns.values(), strict=True)
    text = "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)])
    return written(tmp_path, text + "\n")


def rows(data):
    """All rows in the order of the file."""
    return data.whole().values


def kinds(data):
    return {field.name: field.kind for field in data.columns}


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_columns_get_kinds_and_exact_values(tmp_path, mark, encoding, end):
    lines = [["n", "height", '"the, colour; of|it"', "same"]]
    lines += [[str(i * i % 7), f"{i / 4 - 1}", '"re""d"' if i % 2 else " blue ", "k"] for i in range(20)]
    data = unveil.load(written(tmp_path, end.join(map(mark.join, lines)), encoding))
    assert data.columns == (
        Field("n", "count"),
        Field("height", "real"),
        Field("the, colour; of|it", "categorical:2", ("blue", 're"d')),
    )
    assert rows(data).tolist() == [[float(i * i % 7), i / 4 - 1, float(i % 2)] for i in range(20)]
    assert data.notes == ("column 'same' is left out: it is constant ('k')",)
    assert len(data.train), len(data.test) == (16, 2)


def test_kinds_are_what_the_numbers_suggest(tmp_path):
    n = 400
    data = unveil.load(
        of(
            tmp_path,
            row=range(10, 10 + n),
            visits=SOURCE.poisson(3, n),
            year=(2000 + 5 * SOURCE.normal(size=n)).round().astype(int),
            year12=SOURCE.integers(1, 13, n),
            rating=SOURCE.integers(2, 6, n),
            marks=SOURCE.integers(1, 7, n),
            to13=SOURCE.integers(1, 14, n),
            holes=SOURCE.choice([1, 2, 4, 5, 6], n),
            from0=SOURCE.integers(0, 6, n),
            flag=SOURCE.integers(0, 2, n),
            salary=SOURCE.integers(20_000, 90_000, n),
            change=SOURCE.integers(-9, 9, n),
            share=SOURCE.random(n),
            city=SOURCE.choice(["Rome", "Oslo", "Äcity"], n),
            name=[f"person {i}" for i in range(n)],
            text=[f"t{i % 150}" for i in range(n)],
            empty=["NA"] * n,
        )
    )
    assert kinds(data) == {
        "visits": "count",
        "year": "ordinal:" + str(len(set(rows(data)[:, 1].tolist())))
        if len(set(rows(data)[:, 1].tolist())) <= 20
        else "real",
        "year12": "ordinal:12",
        "rating": "ordinal:4",
        "marks": "ordinal:6",
        "to13": "count",
        "holes": "count",
        "from0": "count",
        "flag": "categorical:2",
        "salary": "real",
        "change": "real",
        "share": "real",
        "city": "categorical:3",
    }
    assert [note.split(":")[0] for note in data.notes[:4]] == [
        f"column {name!r} is left out" for name in ("row", "name", "text", "empty")
    ]
    assert data.columns[-1].words == ("Oslo", "Rome", "Äcity")


def test_marks_in_a_few_rows_tell_no_scale(tmp_path):
    assert kinds(unveil.load(of(tmp_path, a=[1, 6, 3, 4, 5, 2] * 3, b=[0.5, 1.5] * 9)))["a"] == "count"
    assert kinds(unveil.load(of(tmp_path, a=[1, 6, 3, 4, 5, 2] * 4, b=[0.5, 1.5] * 12)))["a"] == "ordinal:6"


def test_every_kind_can_be_asked_for(tmp_path):
    path = of(tmp_path, a=[1, 2, 3, 10] * 9, b=[1.5, 2.5, 0.5, 2.5] * 9, c=range(36), d=[0, 1, 1, 5] * 9)
    asked = ("a=ordinal,b=positive", "c=categorical", "d=real")
    for given in (asked, {"a": "ordinal", "b": "positive", "c": "categorical", "d": "real"}):
        data = unveil.load(path, columns=given)
        assert list(kinds(data).values()) == ["ordinal:4", "positive", "categorical:36", "real"]
    assert data.columns[0].words == ("1", "2", "3", "10")  # in the order of numbers, not of the alphabet
    assert rows(data)[:4, 0].tolist() == [0, 1, 2, 3]
    assert kinds(unveil.load(path, drop=("b", "d"))) == {"a": "count"}


@pytest.mark.parametrize("blank", ["", "NA", "NaN", "nan", "null", "None", "?", " ", "N/A"])
def test_missing_cells_are_gaps(tmp_path, blank):
    words = [blank if i % 3 == 0 else "ab"[i % 2] for i in range(30)]
    data = unveil.load(
        of(tmp_path, x=[i / 2 if i % 5 else blank for i in range(30)], w=words, n=[i * i for i in range(30)])
    )
    whole = rows(data)
    assert whole.isnan().nonzero().tolist() == [
        [i, j] for i in range(30) for j in (0, 1) if (j == 0 and i % 5 == 0) or (j == 1 and i % 3 == 0)
    ]
    assert whole[1].tolist() == [0.5, 1.0, 1.0]
    assert data.notes == ("16 of 90 cells are missing and integrated out, by column: w 10, x 6",)
    assert kinds(data) == {"x": "real", "w": "categorical:2", "n": "count"}


def test_labels_and_splits_come_from_their_columns(tmp_path):
    n = 60
    said = (["train"] * 3 + ["Test", "val", "training"]) * 10
    path = of(tmp_path, x=[i / 7 for i in range(n)], y=["cat", "dog", "ant"] * 20, part=said)
    data = unveil.load(path, label="y", split="part")
    assert data.classes == ("ant", "cat", "dog")
    assert data.whole().labels.tolist() == [1, 2, 0] * 20
    assert data.test.rows.tolist() == [i for i in range(n) if said[i] == "Test"]
    assert data.validation.rows.tolist() == [i for i in range(n) if said[i] == "val"]
    assert len(data.train) == 40
    assert kinds(data) == {"x": "real"}
    assert dict(data.options) == {"label": "y", "split": "part"}


def test_a_column_that_says_nothing_but_splits_is_mentioned_until_it_is_one(tmp_path):
    parts = ["train", "Train", "test", "val"] * 9
    path = of(tmp_path, x=[i / 7 for i in range(36)], part=parts, kind=["test", "other"] * 18, same=["train"] * 36)
    notes = [note for note in unveil.load(path).notes if "alone" in note]
    assert notes == [
        "column 'part' holds train, Train, test, val alone, and is a part of x to be learnt: where it says which rows "
        "train, give split='part'; else drop='part' leaves it out"
    ]
    with at_terminal():
        assert any("give --split part; else --drop part" in note for note in unveil.load(path).notes)
    for options in ({"split": "part"}, {"drop": ["part"]}, {"label": "part"}):
        assert not any("alone" in note for note in unveil.load(path, **options).notes)


def test_classes_that_held_out_rows_alone_have_are_classes_and_said(tmp_path):
    part = ["train"] * 30 + ["test"] * 5 + ["validation"] * 5
    city = ["a", "b"] * 15 + ["a", "c", "a", "b", ""] + ["a", "b", "d", "a", "b"]
    path = of(tmp_path, x=[i / 7 for i in range(40)], city=city, part=part, w=["u", "v"] * 20)
    data = unveil.load(path, split="part")
    assert kinds(data)["city"] == "categorical:4"
    assert data.notes[0] == ("column 'city' has classes that no training row has, of which the model learns nothing: c, d")
    assert sum("no training row" in note for note in data.notes) == 1
    again = load_like(path, facts_of(data))
    assert not any("no training row" in note for note in again.notes)


def facts_of(data):
    """What a manifest says of data."""
    columns = [{"name": field.name, "kind": field.kind, "words": list(field.words)} for field in data.columns]
    return {"columns": columns, "class_names": list(data.classes), "options": dict(data.options), "measure": "columns"}


def test_other_tables_are_read_in_the_columns_of_the_first(tmp_path):
    first = of(tmp_path, x=[1.5, 2, 3] * 9, w=["b", "a", "c"] * 9, k=[1, 2, 3] * 9, y=["u", "v", "w"] * 9)
    data = unveil.load(first, label="y", columns=["k=ordinal"])
    again = load_like(first, facts_of(data))
    assert again.fingerprint == data.fingerprint
    other = written(tmp_path, "z,k,w,x\n9,3.0,c,\n8,1.0,c,7\n7,2,a,6\n", name="other.csv")
    found = load_like(other, facts_of(data))
    assert found.space == data.space
    assert found.whole().labels is None
    assert torch.equal(rows(found).isnan(), torch.tensor([[True, False, False], [False] * 3, [False] * 3]))
    assert rows(found)[:, 1:].tolist() == [[2, 2], [2, 0], [0, 1]]
    assert rows(found)[1:, 0].tolist() == [7, 6]
    for text, words in {
        "x,w\n1,a\n": "no column 'k', which the model reads",
        "x,w,k\n1,a,1\n2,d,1\n": "line 3: column 'w' holds 'd', which is none of its classes",
        "x,w,k\n1,a,1\ntwo,b,1\n": "line 3: column 'x' holds 'two'",
        "x,w,k,y\n1,a,1,u\n1,a,1,q\n": "line 3: column 'y' is the label, and holds 'q', which is none of its classes",
    }.items():
        with pytest.raises(DataError, match=words):
            load_like(written(tmp_path, text, name="bad.csv"), facts_of(data))


def test_numbers_go_back_to_what_they_stand_for():
    fields = [Field("a", "real"), Field("b", "count"), Field("c", "categorical:2", ("no", "yes")), Field("d", "ordinal:3")]
    x = torch.tensor([[0.1, 3.0, 1.0, 2.0], [torch.nan, 0.0, torch.nan, 0.4]])
    assert by_name(x, fields) == {"a": [0.1, None], "b": [3, 0], "c": ["yes", None], "d": [2, 0]}
    assert by_name(torch.tensor([[0.1, 0.5, 1, 1]]), fields)["b"] == [0.5]


def test_a_table_of_many_rows_keeps_each_in_its_place(tmp_path):
    n = 5_000
    x, lost = SOURCE.normal(size=n).round(6), SOURCE.random(n) < 0.2
    data = unveil.load(
        of(tmp_path, x=[("" if gone else one) for one, gone in zip(x, lost, strict=True)], y=SOURCE.poisson(3, n))
    )
    assert np.array_equal(rows(data)[:, 0].numpy(), np.where(lost, np.nan, x).astype(np.float32), equal_nan=True)


def test_a_column_that_stands_at_a_point_is_mentioned(tmp_path):
    data = unveil.load(of(tmp_path, rain=[0] * 60 + [0.1 * i for i in range(40)], x=SOURCE.normal(size=100)))
    assert data.notes[0].startswith("column 'rain' is 0 in 61% of its rows: a density can rise there without end")
    assert len(data.notes) == 1


def test_a_number_far_from_all_others_is_mentioned(tmp_path):
    data = unveil.load(of(tmp_path, x=[*SOURCE.normal(size=99), -9999], y=SOURCE.normal(size=100)))
    (note,) = data.notes
    assert note.startswith("column 'x' reaches -9,999, and half of its numbers lie between -0.")


def test_numbers_that_single_precision_cannot_tell_apart_are_left_out(tmp_path):
    stamps = [1_700_000_000_000 + i for i in SOURCE.permutation(5_000)[:100]]
    path = of(tmp_path, stamp=stamps, x=SOURCE.normal(size=100))
    (note,) = unveil.load(path).notes
    assert note.startswith("column 'stamp' is left out: its numbers, around 1,700,000,00")
    with pytest.raises(DataError, match="column 'stamp' cannot be real: its numbers, around"):
        unveil.load(path, columns=["stamp=real"])


def test_the_fingerprint_tells_kinds_apart_by_their_columns(tmp_path):
    path = of(tmp_path, a=[1, 2, 3, 4] * 9, b=[2, 1, 4, 3] * 9)
    one, other = (unveil.load(path, columns=given) for given in (["a=real", "b=count"], ["a=count", "b=real"]))
    assert str(one.space) == "2 columns of a table: 1 real, 1 count"
    assert one.fingerprint != other.fingerprint


def test_a_number_is_one_class_however_it_is_written_and_nan_a_name_that_somebody_has(tmp_path):
    n = 60
    data = unveil.load(
        of(
            tmp_path,
            flag=["1", "1.0", "2"] * 20,
            often=[f"{i * i % 7}.0" for i in range(n)],
            name=["Nan", "Ann", "nan"] * 20,
        )
    )
    assert data.columns == (
        Field("flag", "categorical:2", ("1", "2")),
        Field("often", "count"),
        Field("name", "categorical:2", ("Ann", "Nan")),
    )
    assert rows(data)[:3, [0, 2]].nan_to_num(-1).tolist() == [[0, 1], [0, 0], [1, -1]]


def test_classes_that_look_like_numbers_are_apart_where_they_are_codes(tmp_path):
    words = ("1", "1.0", "007", "7", "12345678901234567890", "12345678901234567891")
    lines = (f"{i / 7:.3f},{words[i % 6]}\n" for i in range(60))
    (tmp_path / "a.csv").write_text("x,code\n" + "".join(lines))
    found = unveil.load(tmp_path / "a.csv", columns={"code": "categorical"})
    assert found.columns[1].words == ("1", "007", "7", "12345678901234567890", "12345678901234567891")


@pytest.mark.parametrize(
    ("words", "kind", "decimals"),
    [
        (["1.60", "2.5", "", "3.14"], "real", 2),
        (["1200", "-30", "17", "4"], "real", 0),
        (["1e-3", "2e3", "0.5", "7"], "positive", 3),
        (["1", "2", "3", "5"], "ordinal", None),
    ],
)
def test_a_column_is_written_again_with_as_many_decimals_as_it_has(tmp_path, words, kind, decimals):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["a,b", *(f"{word},{place}.5" for place, word in enumerate(3 * words))]))
    data = unveil.load(path, columns={"a": kind})
    field = data.columns[0]
    assert field.decimals == decimals
    if decimals is not None:
        x = torch.tensor([[1 / 3, 0.0], [float("nan"), 0.0], [1234.5678, 0.0], [1e-9, 0.0]])
        cells = by_name(x, data.columns, written=True)["a"]
        smallest = 10.0**-decimals if kind == "positive" else 0
        assert cells == [round(1 / 3, decimals), None, round(1234.5677, decimals), smallest]
        assert (type(cells[0]) is int) == (decimals == 0)

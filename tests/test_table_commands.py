"""Tables from the terminal: inspected, trained on, evaluated, sampled and scored, in names and words."""

import csv
import json
import shutil

import numpy as np
import pytest

import unveil
from unveil.cli import main
from unveil.pictures import Column, marginals

N = 300


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A table of a person's kind: income and city follow age, a fifth of the incomes is missing."""
    folder = tmp_path_factory.mktemp("tables")
    source = np.random.default_rng(0)
    age = source.normal(50, 12, N).round(1)
    income = (age * 1_000 + source.normal(0, 4_000, N)).round(2)
    lost = source.random(N) < 0.2
    city = np.where(age + source.normal(0, 9, N) > 50, "Rome", "Oslo")
    kids = source.poisson(2, N)
    with (folder / "people.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "age", "income", "city", "kids", "sex"])
        for i in range(N):
            rows.writerow([i, age[i], "" if lost[i] else income[i], city[i], kids[i], "mf"[i % 2]])
    return folder


@pytest.fixture(scope="module")
def trained(room):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(room)
        code = main(["train", "people.csv", "--epochs", "3", "--latent", "2", "--batch-size", "40", "--out", "run"])
    assert code == 0
    return room


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def said(arguments, capsys, code=0):
    assert main([str(one) for one in arguments]) == code
    done = capsys.readouterr()
    return done.out if code == 0 else done.err


def test_inspect_tells_of_every_column(room, capsys, monkeypatch):
    monkeypatch.chdir(room)
    out = said(["inspect", "people.csv", "--label", "sex", "--columns", "kids=real,age=positive"], capsys)
    assert "column 'id' is left out: it numbers the rows" in out
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    lost = sum(row["income"] == "" for row in read(room / "people.csv"))
    assert f"; {lost} of 300 missing" in lines["income"]
    assert "positive," in lines["age"]
    assert "real, 0 to" in lines["kids"]
    assert "categorical, 2 classes: Oslo " in lines["city"]
    assert "labels f " in out
    assert list(room.glob("*.png")) == []


def test_samples_are_rows_of_the_table(trained, capsys, monkeypatch):
    monkeypatch.chdir(trained)
    said(["sample", "run", "-n", 40, "--seed", 1], capsys)
    rows = read(trained / "samples.csv")
    assert len(rows) == 40
    assert list(rows[0]) == ["age", "income", "city", "kids", "sex"]
    assert {row["city"] for row in rows} == {"Rome", "Oslo"}
    assert all(row["kids"].isdecimal() for row in rows)
    for name, decimals in (("age", 1), ("income", 2)):
        assert max(len(row[name].partition(".")[2]) for row in rows) == decimals
    said(["sample", "run", "-n", 40, "--seed", 1, "--mean", "--out", "mean.csv"], capsys)
    assert any(len(row["age"].partition(".")[2]) > 1 for row in read(trained / "mean.csv"))

    assert 2_000 < np.std([float(row["income"]) for row in rows]) < 60_000
    said(["sample", "run", "-n", 40, "--seed", 1, "--out", "x.npy"], capsys)
    assert np.allclose(np.load("x.npy")[:, 1], [float(row["income"]) for row in rows])
    parquet = pytest.importorskip("pyarrow.parquet")
    said(["sample", "run", "-n", 40, "--seed", 1, "--out", "x.parquet"], capsys)
    table = parquet.read_table("x.parquet")
    assert table.column("city").to_pylist() == [row["city"] for row in rows]
    assert table.column("kids").to_pylist() == [int(row["kids"]) for row in rows]
    again = unveil.load("x.parquet")
    assert again.columns[0].kind == "real"
    assert "known endings: .csv, .parquet, .npy" in said(["sample", "run", "--out", "x.png"], capsys, 2)


def test_a_run_that_does_not_say_how_many_decimals_there_were_writes_all(trained, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained / "run", "run")
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    for one in manifest["data"]["columns"]:
        del one["decimals"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(manifest))
    said(["sample", "run", "-n", 40, "--seed", 1], capsys)
    assert any(len(row["age"].partition(".")[2]) > 1 for row in read(tmp_path / "samples.csv"))
    assert len(unveil.open("run").load_data().train) > 0  # whose fingerprint is the same


def test_a_run_is_evaluated_and_scored_on_its_own_table_and_on_another(trained, capsys, monkeypatch):
    monkeypatch.chdir(trained)
    assert "nats (n = 30)" in said(["evaluate", "run", "--samples", 20], capsys)
    (trained / "other.csv").write_text("city,sex,income,age,kids\nRome,m,,60.5,2\nOslo,f,1000000,20,\n,f,60000,,3\n")
    assert "3 rows in s.csv" in said(["score", "run", "other.csv", "--out", "s.csv", "--fpr", "0.2"], capsys)
    nats = [float(row["nats"]) for row in read(trained / "s.csv")]
    assert nats[1] > nats[0] + 100
    assert "rows have gaps: their nats are of fewer entries" in said(["score", "run", "other.csv", "--fpr", "0.2"], capsys)
    (trained / "other.csv").write_text("city,sex,income,age,kids\nParis,m,,60.5,2\nOslo,f,100,20,1\nOslo,f,100,20,1\n")
    error = said(["evaluate", "run", "other.csv"], capsys, 2)
    assert "line 2: column 'city' holds 'Paris', which is none of its classes (Oslo, Rome)" in error
    assert error.count("\n") == 1


def test_rows_with_a_class_that_training_never_saw_are_anomalies_and_the_rest_is_scored(trained, capsys, monkeypatch):
    monkeypatch.chdir(trained)
    head, rest = "city,sex,income,age,kids\n", "Oslo,f,50000,50,1\nRome,,60000,60,2\nRome,m,61000,60.5,2\n"
    (trained / "known.csv").write_text(f"{head}Oslo,f,50000,50,1\n{rest}")
    (trained / "strange.csv").write_text(f"{head}Paris,q,50000,50,1\n{rest}")
    for by in ("typicality", "likelihood"):
        said(["score", "run", "known.csv", "--out", "known.scores.csv", "--fpr", "0.2", "--by", by], capsys)
        out = said(["score", "run", "strange.csv", "--out", "s.csv", "--fpr", "0.2", "--by", by], capsys)
        assert "1 row has a class that training never saw (unknown class 'Paris' in city; unknown class 'q' in sex)" in out
        assert "1 of the 4 rows have gaps" in out
        before, after = read(trained / "known.scores.csv"), read(trained / "s.csv")
        notes = ["unknown class 'Paris' in city; unknown class 'q' in sex", "", "", ""]
        assert [row.pop("note") for row in after] == notes
        assert "note" not in before[0]
        assert (after[0]["nats"], after[0]["score"], after[0]["flag"]) == ("inf", "inf", "True")
        assert float(after[0]["p_value"]) == min(float(row["p_value"]) for row in after) < 0.2
        assert after[1:] == before[1:]  # what the others get does not depend on it
    (trained / "strange.csv").write_text(f"{head}Paris,m,50000,50,1\nParis,f,50000,50,1\nRome,z,1,1,1\n")
    assert "3 of 3 (" in said(["score", "run", "strange.csv", "--fpr", "0.2"], capsys)


@pytest.fixture(scope="module")
def labelled(room):
    """A model that is given the label of each row, and one that is not, of the same table."""
    data = unveil.load(room / "people.csv", label="sex", drop=["id", "kids"])
    for recipe in ("cvae", "table"):
        unveil.train(data, recipe, out=room / recipe, epochs=1, latent=2, batch_size=40, threads=1)
    return room


HEAD, ROWS = "age,income,city,sex\n", ["50,50000,Oslo,f\n", "60,60000,Rome,f\n", "61,,Rome,f\n"]
NO_LABELS = {
    "line 3: column 'sex' is the label, and holds 'q', which is none of its classes (f, m)": "61,,Rome,q\n",
    "line 3: column 'sex' is the label, and says nothing": "61,,Rome,\n",
}


@pytest.mark.parametrize(("words", "row"), NO_LABELS.items())
def test_a_label_of_no_class_is_done_without_where_the_model_can(words, row, labelled, capsys, monkeypatch):
    monkeypatch.chdir(labelled)
    (labelled / "right.csv").write_text(HEAD + ROWS[0] + ROWS[2] + ROWS[1])
    (labelled / "wrong.csv").write_text(HEAD + ROWS[0] + row + ROWS[1])
    for name in ("right", "wrong"):
        assert main(["score", "table", f"{name}.csv", "--fpr", "0.2", "--out", f"{name}.scores.csv"]) == 0
    line = f"wrong.csv, {words}; all rows are taken as unlabelled, for this model needs no labels\n"
    assert capsys.readouterr().err.count(line) == 1
    assert read(labelled / "wrong.scores.csv") == read(labelled / "right.scores.csv")
    assert main(["evaluate", "table", "wrong.csv", "--split", "all", "--samples", "5"]) == 0
    assert line in capsys.readouterr().err
    said(["encode", "table", "wrong.csv", "--out", "z.npz", "--split", "test"], capsys)
    assert set(np.load("z.npz")["label"]) == {-1}
    for name in ("score", "evaluate"):
        error = said([name, "cvae", "wrong.csv"], capsys, 2)
        assert error.endswith(f"wrong.csv, {words}; write its class there, or remove the row\n")
        assert error.count("\n") == 1


def test_a_model_that_is_given_labels_scores_rows_of_some_classes_alone(labelled, capsys, monkeypatch):
    monkeypatch.chdir(labelled)
    (labelled / "some.csv").write_text(HEAD + "".join(ROWS))
    assert "3 rows in s.csv" in said(["score", "cvae", "some.csv", "--fpr", "0.2", "--out", "s.csv"], capsys)


def test_pictures_show_columns_of_data_and_of_samples(trained):
    from PIL import Image

    names = {path.name for path in (trained / "run" / "pictures").iterdir()}
    assert names == {"latent_plane.png", "columns.png", "curves.png"}
    assert np.asarray(Image.open(trained / "run" / "pictures" / "columns.png")).std() > 5


def test_odd_columns_are_drawn_all_the_same():
    none, ones, large = np.zeros(0), np.ones(9), np.array([1e30, -1e30, 0.5])
    words = tuple(f"a long name {i}" for i in range(40))
    columns = [
        Column("no data", none, large),
        Column("constant", ones, ones),
        Column("large", large, large),
        Column("classes", ones, ones * 39, words),
        Column("no classes", none, ones, words[:2]),
    ]
    bars = marginals(columns, "title", "note").axes
    assert sum(axes.get_visible() for axes in bars) == 5
    assert len(bars[3].patches) == 12


def test_impute_fills_gaps_and_leaves_the_rest_as_it_was(trained, capsys, monkeypatch):
    monkeypatch.chdir(trained)
    out = said(["impute", "run", "--out", "filled.csv", "--samples", 50], capsys)
    before, after = read(trained / "people.csv"), read(trained / "filled.csv")
    lost = [row["income"] == "" for row in before]
    assert f"{sum(lost)} cells in {sum(lost)} of 300 rows filled in filled.csv" in out
    assert all(
        one == other or (gone and name == "income")
        for row, filled, gone in zip(before, after, lost, strict=True)
        for (name, one), other in zip(row.items(), filled.values(), strict=True)
    )
    guesses = np.array([float(row["income"]) for row, gone in zip(after, lost, strict=True) if gone])
    ages = np.array([float(row["age"]) for row, gone in zip(after, lost, strict=True) if gone])
    assert np.corrcoef(guesses, ages)[0, 1] > 0.5
    assert all(len(row["income"].partition(".")[2]) <= 2 for row in after)
    (trained / "two.csv").write_text(
        "city,sex,note,income,age,kids\n?,m,keep,,60.5,2\nOslo,f,,50000.25,,1\nRome,f,,3,3,3\n"
    )
    said(["impute", "run", "two.csv", "--out", "two.filled.csv"], capsys)
    rows = read(trained / "two.filled.csv")
    assert [row["note"] for row in rows] == ["keep", "", ""]
    assert rows[0]["city"] in ("Rome", "Oslo")
    assert rows[1]["income"] == "50000.25"
    parquet = pytest.importorskip("pyarrow.parquet")
    said(["impute", "run", "two.csv", "--out", "two.parquet"], capsys)
    columns = parquet.read_table("two.parquet").to_pydict()
    assert columns["income"][1] == 50000.25
    assert columns["note"] == ["keep", None, None]
    (trained / "whole.csv").write_text("city,sex,income,age,kids\nRome,m,5,60.5,2\nOslo,f,100,20,1\nOslo,f,100,20,1\n")
    assert "0 cells in 0 of 3 rows filled" in said(["impute", "run", "whole.csv"], capsys)
    np.save("x.npy", np.random.default_rng(0).normal(size=(20, 5)).astype("f4"))
    assert said(["impute", "run", "x.npy"], capsys, 2) == (
        "unveil: the run was trained on a table, and x.npy is none; give a .csv or .parquet file\n"
    )
    said(["train", "x.npy", "--epochs", 1, "--out", "array"], capsys)
    assert "array was not trained on a table" in said(["impute", "array"], capsys, 2)
    assert "this model is conditioned on nothing" in said(["sample", "run", "--label", "red"], capsys, 2)
    assert "was not trained on a table, so it cannot read" in said(["evaluate", "array", "people.csv"], capsys, 2)


def test_conditional_models_are_asked_by_the_names_of_classes(room, capsys, monkeypatch):
    monkeypatch.chdir(room)
    call = ["train", "people.csv", "--recipe", "cvae", "--label", "city", "--epochs", "1", "--latent", "2", "--out", "c"]
    said(call, capsys)
    facts = json.loads((room / "c" / "run.json").read_text())["data"]
    assert facts["class_names"] == ["Oslo", "Rome"]
    said(["sample", "c", "-n", 6, "--label", "Rome", "--out", "c.csv"], capsys)
    rows = read(room / "c.csv")
    assert [row["city"] for row in rows] == ["Rome"] * 6
    assert "age" in rows[0]
    assert "there is no class 'Paris'; known: Oslo, Rome" in said(["sample", "c", "--label", "Paris"], capsys, 2)
    assert "-ELBO" in said(["evaluate", "c", "--samples", 5], capsys)


def test_wrong_options_are_one_line(room, capsys, monkeypatch):
    monkeypatch.chdir(room)
    for options, words in {
        ("--label", "town"): "no column of people.csv 'town'; known: age, city",
        ("--columns", "age"): "'age' gives no column a kind",
        ("--columns", "city=real"): "line 2: column 'city' holds",
        ("--size", "3", "3"): "people.csv cannot take --size",
        ("--measure", "real"): "is a table",
    }.items():
        error = said(["train", "people.csv", *options], capsys, 2)
        assert words in error
        assert error.count("\n") == 1


def test_no_command_writes_over_what_it_reads(trained, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(trained)
    whole = (trained / "people.csv").read_bytes()
    (tmp_path / "other.csv").hardlink_to(trained / "people.csv")
    for command in (
        ["impute", "run", "--out", "people.csv"],
        ["impute", "run", tmp_path / "other.csv", "--out", tmp_path / "other.csv"],
        ["score", "run", "--out", tmp_path / "other.csv"],
        ["sample", "run", "--out", f"../{trained.name}/people.csv"],
    ):
        error = said(command, capsys, 2)
        assert "is read here, and would be written over; give another --out" in error
        assert error.count("\n") == 1
    assert (trained / "people.csv").read_bytes() == whole
    (tmp_path / "photos").mkdir()
    for out in ("inspect.png", "x/inspect.png"):
        error = said(["inspect", tmp_path / "photos", "--out", tmp_path / "photos" / out], capsys, 2)
        assert "would lie among the data" in error


def test_impute_changes_nothing_but_gaps_in_the_columns_of_the_model(room, capsys, monkeypatch):
    """Dates, lists and words that say nothing stay, with the types of all columns, and files held out are left alone."""
    from datetime import date
    from decimal import Decimal

    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    monkeypatch.chdir(room)
    source = np.random.default_rng(1)
    n = 60
    gone = np.arange(n) % 7 == 3
    hole = lambda cells: [None if lost else cell for cell, lost in zip(cells, gone, strict=True)]  # noqa: E731
    columns = {
        "day": pyarrow.array([date(2020, 1, 1 + i % 28) for i in range(n)]),
        "tags": pyarrow.array([[1, 2]] * n),
        "note": ["None", "?", "NA"] * (n // 3),
        "x": pyarrow.array(source.normal(size=n).astype("f4")),
        "kids": pyarrow.array(hole(source.poisson(3, n).tolist()), pyarrow.uint8()),
        "fee": pyarrow.array(hole([Decimal(i) / 4 for i in range(n)]), pyarrow.decimal128(8, 2)),
        "town": pyarrow.array(hole(["Oslo", "Rome"] * (n // 2)), pyarrow.dictionary(pyarrow.int8(), pyarrow.string())),
        "flag": pyarrow.array(hole([i % 3 == 0 for i in range(n)])),
    }
    before = pyarrow.table(columns)
    parquet.write_table(before, "typed.parquet")
    parquet.write_table(before[:20], "te.parquet")
    train = ["train", "typed.parquet", "--test", "te.parquet", "--drop", "day", "tags", "note", "--epochs", 1]
    said([*train, "--latent", 2, "--out", "typed"], capsys)
    assert "nats" in said(["evaluate", "typed", "te.parquet", "--samples", 5], capsys)
    assert "20 rows" in said(["score", "typed", "te.parquet", "--fpr", "0.5"], capsys)
    said(["impute", "typed", "--out", "typed.filled.parquet", "--samples", 20], capsys)
    after = parquet.read_table("typed.filled.parquet")
    assert after.schema.equals(before.schema)
    for name in before.column_names:
        cells = after.column(name).to_pylist()
        assert None not in cells
        for old, new in zip(before.column(name).to_pylist(), cells, strict=True):
            assert old is None or old == new
    said(["impute", "typed", "--out", "typed.filled.csv", "--samples", 20], capsys)
    rows = read(room / "typed.filled.csv")
    assert (rows[1]["day"], rows[1]["tags"], rows[1]["note"]) == ("2020-01-02", "[1, 2]", "?")
    assert all(row["town"] in ("Oslo", "Rome") for row in rows)
    (room / "words.csv").write_text("city,sex,note,income,age,kids\n?,m,None,,60.5,2\nOslo,f,NA,5.25,,1\nRome,f,?,3,3,3\n")
    said(["train", "people.csv", "--epochs", 1, "--latent", 2, "--out", "plain"], capsys)
    said(["impute", "plain", "words.csv", "--out", "words.filled.csv"], capsys)
    assert [row["note"] for row in read(room / "words.filled.csv")] == ["None", "NA", "?"]


def test_what_no_memory_holds_is_refused_in_a_line(trained, capsys, monkeypatch):
    monkeypatch.chdir(trained)
    error = said(["sample", "run", "-n", 10**11], capsys, 2)
    assert "100,000,000,000 samples of shape (5,) need 3,725.3 GB of memory, and " in error
    assert error.count("\n") == 1
    error = said(["inspect", trained, "--size", 100_000, 100_000], capsys, 2)
    assert "100000 x 100000 pixels, which are more than 67,108,864" in error
    assert error.count("\n") == 1


def test_all_splits_can_be_scored_and_a_rate_in_a_message_is_one_that_is_taken(trained, capsys, monkeypatch):
    monkeypatch.chdir(trained)
    error = said(["score", "run", "--fpr", "0.001"], capsys, 2)
    assert "30 rows of the validation split" in error
    rate = error.partition("--fpr ")[2].split()[0]
    assert "300 rows in all.csv" in said(["score", "run", "--split", "all", "--fpr", rate, "--out", "all.csv"], capsys)
    assert {row["split"] for row in read(trained / "all.csv")} == {"train", "validation", "test"}


def test_inspect_s_next_line_repeats_what_was_asked_for(room, capsys, monkeypatch):
    monkeypatch.chdir(room)
    asked = ["people.csv", "--label", "sex", "--columns", "kids=real", "age=positive", "--test", "0.2", "--drop", "a b"]
    (room / "people b.csv").write_text((room / "people.csv").read_text().replace("id,age", "a b,age"))
    out = said(["inspect", "--out", "x.png", "people b.csv", *asked[1:]], capsys)
    line = "train 'people b.csv' --label sex --columns kids=real age=positive --test 0.2 --drop 'a b'"
    assert out.splitlines()[-1].endswith(f" {line}")


def test_runs_and_reports_are_printed_as_a_person_reads_them(trained, capsys, monkeypatch):
    monkeypatch.chdir(trained)
    run = unveil.open("run")
    assert str(run).startswith("Run(path='run', recipe='table', data=")
    assert str(run).endswith("people.csv', status='finished')")
    report = run.evaluate(samples=5)
    out = said(["evaluate", "run", "--samples", 5], capsys)
    assert str(report).splitlines()[1:-1] == out.splitlines()[1:-2]
    assert "nats (n = 30)" in str(report)

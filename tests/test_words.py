"""One way of writing numbers and counts, whatever says them."""

import re

import numpy as np
import pytest

from unveil.cli import main
from unveil.evaluation.figure import Figure
from unveil.words import counted, number


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (26_460.4, 4, "26,460"),
        (26_460, 6, "26,460"),
        (1_006.26, 4, "1,006"),
        (0.00008612, 2, "0.000086"),
        (0.5, 3, "0.5"),
        (9.9996, 4, "10"),
        (-0.1234, 2, "-0.12"),
        (0.0, 2, "0"),
        (-1_234.5, 6, "-1,234.5"),
        (1e-37, 6, "1e-37"),
        (3.4e38, 2, "3.4e+38"),
        (float("inf"), 3, "inf"),
    ],
)
def test_numbers_have_separators_and_no_exponent(value, digits, text):
    assert number(value, digits) == text


def test_one_is_no_plural():
    assert [counted(n, "file") for n in (0, 1, 2, 2_000)] == ["0 files", "1 file", "2 files", "2,000 files"]
    assert [counted(n, "class", "classes") for n in (1, 3)] == ["1 class", "3 classes"]
    assert counted(2.5, "epoch") == "2.5 epochs"


def test_figures_and_the_values_of_data_are_written_alike(tmp_path, capsys):
    assert str(Figure(26_460.25, 31.4, 1_000)) == "26,460.25 ± 31.40 nats (n = 1,000)"
    np.save(tmp_path / "large.npy", 26_460 + 10 * np.random.default_rng(0).standard_normal((100, 2)))
    assert main(["inspect", str(tmp_path / "large.npy")]) == 0
    said = capsys.readouterr().out
    assert "mean 26,46" in said
    assert "e+0" not in said


def test_one_of_something_is_said_as_one(tmp_path, capsys):
    lines = ["a,b,c", *(f"{n / 7:.3f},{n % 3 - 0.5},{n * n / 31:.3f}" for n in range(40))]
    lines[5] = ",0.5,2.25"
    (tmp_path / "t.csv").write_text("\n".join(lines))
    few = ["--epochs", "1", "--batch-size", "32", "--out", str(tmp_path / "r")]
    assert main(["train", str(tmp_path / "t.csv"), *few]) == 0
    assert "-> 1 step in all" in capsys.readouterr().out
    assert main(["sample", str(tmp_path / "r"), "-n", "1", "--out", str(tmp_path / "s.csv")]) == 0
    assert capsys.readouterr().out.startswith("1 sample in ")
    assert main(["impute", str(tmp_path / "r"), "--out", str(tmp_path / "f.csv")]) == 0
    assert capsys.readouterr().out.startswith("1 cell in 1 of 40 rows filled")
    assert main(["evaluate", str(tmp_path / "r"), "--samples", "20", "--threads", "1"]) == 0
    assert " s on 1 thread" in (said := capsys.readouterr().out)
    assert "1 threads" not in said


def test_data_and_likelihood_are_said_in_words(tmp_path, capsys):
    grays = np.random.default_rng(0).integers(0, 16, (120, 1, 5, 5))
    np.save(tmp_path / "gray.npy", grays.astype(np.uint8))
    assert (
        main(
            [
                "inspect",
                str(tmp_path / "gray.npy"),
                "--levels",
                "15",
                "--measure",
                "levels",
                "--out",
                str(tmp_path / "s.png"),
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "1x5x5, integers from 0 to 15, counted" in said
    assert re.search(r"likelihood +discretised logistic", said)


def test_the_spread_of_a_column_does_not_pass_for_a_standard_error(tmp_path, capsys):
    lines = ["a,b", *(f"{n / 7:.3f},{n * n / 31:.3f}" for n in range(40))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert main(["inspect", str(tmp_path / "t.csv")]) == 0
    said = capsys.readouterr().out
    assert re.search(r"a +real, 0 to 5.571, mean 2.786, standard deviation 1.67\n", said)
    assert "±" not in said

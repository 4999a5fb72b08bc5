"""Every source from the terminal: looked at, trained on, evaluated, sampled from, and refused in one line."""

import numpy as np
import pytest
from helpers.shards import pixels, tar_folder, write_parquet

from unveil.cli import main


@pytest.fixture(params=["tar", "parquet", "mapped"])
def source(request, tmp_path):
    if request.param == "tar":
        tar_folder(tmp_path / "data")
        return [str(tmp_path / "data")]
    if request.param == "parquet":
        write_parquet(tmp_path / "data" / "a.parquet", pixels(120))
        return [str(tmp_path / "data")]
    np.save(tmp_path / "x.npy", pixels(120))
    return [str(tmp_path / "x.npy"), "--mapped"]


def test_a_source_is_inspected_trained_on_evaluated_and_sampled_from(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", *source]) == 0
    said = capsys.readouterr().out
    assert "96 train, 12 validation, 12 test; 1x6x5" in said
    assert "96 x (1, 6, 5), stored uint8" in said
    small = ["--latent", "2", "--model.hidden", "8", "--batch-size", "20", "--epochs", "2", "--out", "run"]
    assert main(["train", *source, *small, "--workers", "2"]) == 0
    assert main(["train", *source, *small, "--resume", "--workers", "1"]) == 0  # which decide nothing
    assert main(["evaluate", "run", "--samples", "3"]) == 0
    assert main(["evaluate", "run", source[0], "--samples", "3", "--split", "validation"]) == 0
    assert main(["sample", "run", "-n", "4", "--out", "x.png"]) == 0
    assert main(["doctor", source[0]]) == 0
    assert (tmp_path / "x.png").is_file()


@pytest.mark.parametrize(
    "more", [["--workers", "-1"], ["--levels", "x"], ["--bad-files", "perhaps"], ["--measure", "real"]]
)
def test_what_cannot_be_is_one_line(source, more, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *source, *more, "--epochs", "1"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("unveil: ")
    assert said.count("\n") == 1

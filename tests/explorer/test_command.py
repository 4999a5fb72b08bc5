"""`unveil explore` as a person meets it: one line, an exit code, and a page or none."""

import pytest

from unveil.cli import main


@pytest.fixture
def opened(monkeypatch):
    """What the browser was asked to open."""
    found = []
    monkeypatch.setattr("webbrowser.open", lambda address: found.append(address) or True)
    return found


@pytest.fixture
def stand_in(monkeypatch):
    """Pages that take no time."""
    monkeypatch.setattr("unveil.explorer.writing.page", lambda run, data: f"<p>{'none' if data is None else data.name}</p>")


def test_a_page_is_written_and_opened(small, opened, stand_in, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["explore", str(small.path), "--out", str(out)]) == 0
    assert out.read_text() == "<p>digits</p>"
    assert opened == [out.as_uri()]
    assert "works offline" in capsys.readouterr().out


def test_without_data_and_without_opening(small, opened, stand_in, tmp_path):
    out = tmp_path / "page.html"
    assert main(["explore", str(small.path), "--out", str(out), "--no-data", "--no-open"]) == 0
    assert out.read_text() == "<p>none</p>"
    assert opened == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere"),
        (["RUN", "--out", "page.pdf"], "known endings: .html"),
        (["RUN", "--out", "RUN/absent/../../page.png"], "known endings: .html"),
        (["RUN", "nothing.npy"], "nothing.npy"),
    ],
)
def test_what_cannot_be_is_one_line(small, opened, arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explore", *(one.replace("RUN", str(small.path)) for one in arguments)]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert "\n" not in told
    assert opened == []
    assert list(tmp_path.iterdir()) == []


def test_data_of_the_wrong_shape_are_refused(small, opened, tmp_path, monkeypatch, capsys):
    import numpy as np

    monkeypatch.chdir(tmp_path)
    np.save("other.npy", np.zeros((40, 5, 5), np.uint8))
    assert main(["explore", str(small.path), "other.npy"]) == 2
    assert "(1, 8, 8)" in capsys.readouterr().err


def test_images_in_a_prior_stay_out_of_a_page_without_data(digits, tmp_path, capsys):
    import unveil

    run = unveil.train(digits, "exemplar", epochs=1, out=tmp_path / "run")
    assert main(["explore", str(run.path), "--no-data", "--out", str(tmp_path / "page.html")]) == 2
    assert "refit-prior" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()

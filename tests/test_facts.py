"""What pages say of a run: the report's own words, kept in a file and made again."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

import unveil
from unveil.cli import main
from unveil.errors import RunError
from unveil.evaluation.kept import kinds, recall
from unveil.evaluation.report import SECTIONS
from unveil.export.about import described, notice
from unveil.pages import facts
from unveil.pages.card import figures_of
from unveil.pages.facts import _dimensions
from unveil.store import RunFolder


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    out = tmp_path_factory.mktemp("facts") / "run"
    data = unveil.load("digits")
    chosen = unveil.train(data, recipe="vae", latent=2, epochs=2, out=out)
    return chosen, chosen.evaluate(samples=20, images=12, also=("latent", "aggregate", "samples"))


def test_every_section_has_its_record():
    assert set(kinds()) == set(SECTIONS)


def test_a_report_that_was_kept_says_what_it_said(evaluated):
    run, report = evaluated
    kept = unveil.open(run.path).report()
    assert set(kept.sections) == {"latent", "aggregate"}
    assert "samples" in kept.refused
    assert str(kept) == str(report)
    assert kept.advice() == report.advice()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"distortion": None}, "distortion"),
        ({"distortion": {"value": "1", "stderr": 1.0, "n": 3}}, "value"),
        ({"curve": {}}, "curve"),
        ({"samples": True}, "samples"),
        ({"sections": {"nonsense": {}}}, "sections"),
        ({"sections": {"latent": {"units": 3}}}, "latent"),
    ],
)
def test_a_report_of_other_types_is_refused(evaluated, wrong, said):
    run, report = evaluated
    with pytest.raises(RunError, match=said):
        recall({**json.loads((run.path / "report.json").read_text()), **wrong}, report.values)


def test_facts_hold_each_figure_of_the_report_as_it_writes_them(evaluated):
    run, report = evaluated
    found = facts(unveil.open(run.path))
    tables = [report.nats.table(), *(section.table() for section in report.sections.values())]
    assert [(row.name, row.text) for row in found.rows()] == [(n.lstrip(), text) for table in tables for n, text in table]
    advice = [*report.nats.advice(), *report.advice(), *(a for one in report.sections.values() for a in one.advice())]
    assert [sentence for sheet in found.sheets for sentence in sheet.advice] == advice
    row = next(row for row in found.rows() if row.name == "-ELBO")
    ours = report.nats.neg_elbo
    assert (row.value, row.stderr, row.n, row.unit) == (ours.value, ours.stderr, ours.n, "nats")
    last = next(row for row in found.rows() if row.name.startswith("-log p(x), K = 20"))
    assert last.value == report.nll.value, "a row that begins with a figure and goes on"
    assert len(list(figures_of(report.nats))) >= 8


def test_facts_are_json_and_complete(evaluated):
    run, _ = evaluated
    found = facts(unveil.open(run.path))
    said = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert said["title"] == "vae on digits"
    assert said["recipe"]["settings"]["latent"] == 2
    assert said["data"]["rows"]["test"] == found.data.rows["test"] > 0
    assert said["data"]["fingerprint"] == run.data.fingerprint
    assert said["data"]["attribution"]
    assert said["model"]["latent"] == [2]
    assert said["model"]["parameters"] == sum(one.numel() for one in run.model.parameters())
    assert [piece["name"] for piece in said["model"]["pieces"]] == ["prior", "posterior", "likelihood"]
    assert {curve["key"] for curve in said["curves"]} == {"neg_elbo", "distortion", "rate"}
    assert said["curves"][0]["epochs"] == [1, 2]
    assert said["curves"][0]["validation"][-1] == run.metrics()[-1]["validation"]["neg_elbo"]
    assert [one["index"] for one in said["dimensions"]] == [unit.index for unit in run.report().sections["latent"].units]
    assert said["seconds"] > 0


def test_dimensions_that_carry_something_have_not_collapsed(evaluated):
    """Of one that was trained and one whose rate is next to nothing."""
    run, _ = evaluated
    report = unveil.open(run.path).report()
    section = report.sections["latent"]
    first, second = (
        replace(unit, rate=replace(unit.rate, value=rate)) for unit, rate in zip(section.units, (3.0, 1e-3), strict=True)
    )
    report = replace(report, sections={**report.sections, "latent": replace(section, units=(first, second))})
    assert [one.collapsed for one in _dimensions(report)] == [False, True]


def test_the_commands_make_the_run_again(evaluated):
    run, _ = evaluated
    train, evaluate = (command.line for command in facts(unveil.open(run.path)).commands)
    assert train.startswith("unveil train digits --recipe vae ")
    assert "--epochs 2" in train
    assert "--model.latent 2" in train
    wanted = "--samples 20 --images 12 --also latent aggregate samples"
    assert evaluate == f"unveil evaluate run {wanted}"
    from unveil.cli.parsing import parse_train

    given, chosen = parse_train(train.split()[2:])
    assert (given.training, chosen.model.latent) == (replace(given.training, epochs=2), 2)


def test_a_run_that_was_not_evaluated_says_how_to(evaluated, tmp_path):
    run, _ = evaluated
    shutil.copytree(run.path, tmp_path / "bare", ignore=shutil.ignore_patterns("report.*"))
    found = facts(unveil.open(tmp_path / "bare"))
    assert found.sheets == ()
    assert "`unveil evaluate bare`" in found.unevaluated
    assert str(tmp_path) not in str(found.as_dict())  # pages travel, and say of nobody where their files lie


def test_figures_of_other_weights_are_not_shown(evaluated, tmp_path):
    run, _ = evaluated
    shutil.copytree(run.path, tmp_path / "other")
    again = unveil.open(tmp_path / "other")
    state = {name: value + 1 for name, value in RunFolder(again.path).model().items()}
    kept = {name: (again.path / name).read_bytes() for name in ("report.json", "report.safetensors")}
    RunFolder(again.path).finish(state, {name: value for name, value in again.manifest.items() if name != "format"})
    for name, content in kept.items():
        (again.path / name).write_bytes(content)
    assert "other weights" in facts(unveil.open(again.path)).unevaluated


def test_what_travels_names_data_without_their_folders_and_in_letters_that_can_be_written(evaluated, tmp_path):
    """A file's name may be of bytes that are no UTF-8, which Python keeps as halves of characters."""
    name = "/home/somebody/caf\udce9.npz"
    for part in ("run.json", "model.safetensors", "metrics.jsonl", "timing.jsonl"):
        shutil.copy(evaluated[0].path / part, tmp_path / part)
    said = json.loads((tmp_path / "run.json").read_text())
    said["data"]["name"] = name
    (tmp_path / "run.json").write_text(json.dumps(said))
    run = unveil.open(tmp_path)
    found = facts(run)
    assert found.data.name == "caf\\udce9.npz"
    assert found.title.encode().endswith(b"npz")
    about = described(run, "numpy", {}, {}, [])
    assert b"caf" in notice(about).encode()
    for text in (json.dumps(about), notice(about), json.dumps(found.as_dict())):
        assert "somebody" not in text
    assert main(["report", str(tmp_path), "--no-data", "--out", str(tmp_path / "page.html")]) == 0, (
        "its pictures have titles"
    )


def test_data_in_memory_have_no_command(tmp_path):
    x = torch.randn(200, 3).numpy()
    run = unveil.train(unveil.load(x), recipe="vae", latent=1, epochs=1, out=tmp_path / "run")
    found = facts(unveil.open(run.path))
    assert found.commands == ()
    assert found.data.shape == (3,)

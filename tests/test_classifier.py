"""The classifier in the package: whole, small, and as good as its record says."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from unveil.data import Binarise, Gray
from unveil.errors import DataError
from unveil.evaluation.samples.classifier import FACTS, FEATURES, FOLDER, WEIGHTS, DigitClassifier, facts, look, shipped
from unveil.randomness import generator


@pytest.fixture
def folder(tmp_path):
    for name in (FACTS, WEIGHTS):
        shutil.copy(FOLDER / name, tmp_path / name)
    return tmp_path


def test_its_file_is_small_and_the_one_that_its_record_states():
    content = (FOLDER / WEIGHTS).read_bytes()
    assert len(content) == facts()["bytes"] < 400_000
    assert hashlib.sha256(content).hexdigest() == facts()["sha256"]


def test_its_files_are_part_of_the_package():
    listed = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    for name in (FACTS, WEIGHTS):
        assert f'"evaluation/samples/{name}"' in listed


def test_it_is_at_rest_and_gives_features_and_labels_a_chunk_at_a_time(monkeypatch):
    classifier = shipped()
    assert not classifier.training
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    x = torch.rand(7, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    features, labels = look(classifier, x)
    assert features.shape == (7, FEATURES)
    assert features.dtype == torch.float32
    assert torch.equal(labels, classifier(x).argmax(1))
    monkeypatch.setattr("unveil.evaluation.samples.classifier.CHUNK", 3)
    assert torch.allclose(look(classifier, x)[0], features, atol=1e-4)


def test_a_flipped_bit_is_noticed(folder):
    shipped(folder)
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        shipped(folder)


@pytest.mark.parametrize("name", [FACTS, WEIGHTS])
def test_a_file_that_is_gone_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name} cannot be read"):
        shipped(folder)


def test_weights_of_another_network_are_refused_though_their_digest_is_right(folder):
    for content in (save({"weight": torch.zeros(3)}), b"no tensors"):
        (folder / WEIGHTS).write_bytes(content)
        (folder / FACTS).write_text(json.dumps({"sha256": hashlib.sha256(content).hexdigest()}))
        with pytest.raises(DataError, match="does not hold this classifier's weights"):
            shipped(folder)


@pytest.mark.parametrize(("name", "reading", "floor"), [("gray", Gray(), 0.99), ("binarised", Binarise(), 0.98)])
def test_it_is_as_good_on_test_images_as_its_record_states(mnist, name, reading, floor):
    stated = facts()["test"][name]
    assert stated["n"] == 10_000
    assert stated["accuracy"] >= floor
    part = mnist.test.sample(1_000, 0)
    x = reading(part.values, generator("test", "classifier"))
    found = float((look(shipped(), x)[1] == part.labels).double().mean())
    # 1,000 of the 10,000 that the record is over
    spread = (stated["accuracy"] * (1 - stated["accuracy"]) / 1_000 * (1 - 1_000 / 10_000)) ** 0.5
    assert abs(found - stated["accuracy"]) < 4 * spread


def test_its_features_have_the_unit_that_distances_are_told_in(mnist):
    values = mnist.train.sample(2_000, 0).values
    x = torch.cat([Gray()(values), Binarise()(values, generator("test", "scale"))])
    features, _ = look(shipped(), x)
    assert float(features.var(0).mean()) == pytest.approx(1, abs=0.05)
    assert bool((features >= 0).all())


def test_a_new_one_has_the_shapes_of_the_shipped_one():
    new, kept = DigitClassifier().state_dict(), shipped().state_dict()
    assert {name: tensor.shape for name, tensor in new.items()} == {name: tensor.shape for name, tensor in kept.items()}

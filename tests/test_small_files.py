"""Checkpoints whose files are to stay small: cut, they are the same checkpoint, and what is missing of it is noticed."""

import json
import logging
import shutil

import pytest
import torch

import unveil
from unveil.errors import RunError, SettingError
from unveil.refit import refit_prior
from unveil.store import RunFolder, pieces, tensors
from unveil.training import Training
from unveil.training.cut import Cut
from unveil.training.saving import save
from unveil.training.team import Team

MIB = 2**20
SETTINGS = {"epochs": 3, "batch_size": 60, "checkpoint_every": 1, "latent": 2, "precision": "float32"}


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """The same run twice, with checkpoints of one file and of small ones; their weights are some 400,000."""
    out = tmp_path_factory.mktemp("small")
    for name, mib in (("one", 0.0), ("cut", 1.0)):
        unveil.train(tiny, "vae", out=out / name, checkpoint_mib=mib, **SETTINGS)
    return out


def last_of(path):
    return path / "checkpoints" / str(RunFolder(path).checkpoints()[-1])


def ends_of(path):
    folder = RunFolder(path)
    state, facts = folder.checkpoint(folder.checkpoints()[-1])
    same = {name: (path / name).read_bytes() for name in ("model.safetensors", "metrics.jsonl")}
    return same, {name: tensor.nan_to_num().tolist() for name, tensor in state.items()}, facts["step"]


def test_no_file_is_larger_than_asked_for_and_none_is_needlessly_small(trained):
    sizes = {path.name: path.stat().st_size for path in last_of(trained / "cut").iterdir()}
    assert len(sizes) > 5
    assert max(sizes.values()) <= MIB
    assert sorted(sizes.values())[2] > 0.99 * MIB  # but for the index and the last
    assert [path.name for path in sorted(last_of(trained / "one").iterdir())] == [pieces.INDEX, pieces.STATE]


def test_they_hold_what_one_file_holds(trained):
    assert ends_of(trained / "cut") == ends_of(trained / "one")


@pytest.mark.parametrize("mine", [slice(0, 1), slice(50_000, 150_001), slice(399_000, 399_001)])
def test_a_slice_is_read_from_the_files_that_have_it(trained, mine):
    whole, _ = pieces.read(last_of(trained / "cut"), None, None)
    found, _ = pieces.read(last_of(trained / "cut"), None, mine)
    for name, tensor in whole.items():
        assert torch.equal(found[name].nan_to_num(), (tensor[mine] if name in pieces.VECTORS else tensor).nan_to_num())


def test_a_run_goes_on_across_the_files_to_the_same_bytes(trained, tiny, tmp_path):
    shutil.copytree(trained / "cut", tmp_path / "run")
    shutil.rmtree(last_of(tmp_path / "run"))
    unveil.train(tiny, "vae", out=tmp_path / "run", resume=True, checkpoint_mib=1.0, **SETTINGS)
    assert ends_of(tmp_path / "run") == ends_of(trained / "one")


def test_an_unfinished_run_opens_with_the_weights_in_all_files(trained, tmp_path):
    shutil.copytree(trained / "cut", tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    said = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**said, "status": "training", "tensors": {}}))
    state, whole = (unveil.open(path).model.state_dict() for path in (tmp_path / "run", trained / "one"))
    assert all(torch.equal(tensor, whole[name]) for name, tensor in state.items())


def lost(path):
    path.unlink()


def shortened(path):
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [lost, shortened, flipped])
@pytest.mark.parametrize("place", [0, 3, -1])
def test_a_missing_or_damaged_file_is_noticed_and_training_goes_back(trained, tmp_path, tiny, harm, place, caplog):
    shutil.copytree(trained / "cut", tmp_path / "run")
    harm(sorted(last_of(tmp_path / "run").glob("*.safetensors"))[place])
    with pytest.raises(RunError, match=r"cannot be read|damaged"):
        pieces.read(last_of(tmp_path / "run"), None, None)
    if (harm, place) == (flipped, 3):
        unveil.train(tiny, "vae", out=tmp_path / "run", resume=True, checkpoint_mib=1.0, **SETTINGS)
        assert "going back to the checkpoint before" in caplog.text
        assert ends_of(tmp_path / "run") == ends_of(trained / "one")


def test_a_save_that_ends_between_two_files_leaves_the_checkpoint_before(trained, tiny, tmp_path, monkeypatch):
    save, files = tensors.save, len(list(last_of(trained / "cut").glob("*.safetensors")))
    written = []

    def failing(path, kept):
        written.append(path)
        if len(written) == files + 3:  # the third of the second checkpoint
            raise OSError(28, "No space left on device")
        return save(path, kept)

    monkeypatch.setattr(tensors, "save", failing)
    with pytest.raises(RunError, match="No space left"):
        unveil.train(tiny, "vae", out=tmp_path / "run", checkpoint_mib=1.0, **SETTINGS)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == [written[0].parent.name[1:-4]]
    monkeypatch.undo()
    unveil.train(tiny, "vae", out=tmp_path / "run", resume=True, checkpoint_mib=1.0, **SETTINGS)
    assert ends_of(tmp_path / "run") == ends_of(trained / "one")


def test_what_cannot_be_cut_is_saved_all_the_same_and_said(tiny, tmp_path, caplog):
    run = unveil.train(tiny, "vae", out=tmp_path / "run", **SETTINGS)
    assert not caplog.records
    training = Training(epochs=1, batch_size=60, checkpoint_mib=1.0, precision="float32")
    with caplog.at_level(logging.WARNING):
        refit_prior(run, "mixture", out=tmp_path / "refit", training=training)  # the model's weights are frozen
    assert "more than checkpoint_mib=1.0 asks for: buffers, frozen weights" in caplog.text
    state, _ = RunFolder(tmp_path / "refit").checkpoint(RunFolder(tmp_path / "refit").checkpoints()[-1])
    assert any(name.startswith("best/buffer.") for name in state)


class Pair(Team):
    """One of two ranks that write one after another: a sum of the digests is made by whoever comes last."""

    def __init__(self, rank, said):
        super().__init__()
        self.rank, self.size, self.said = rank, 2, said

    def sum_(self, message):
        if message.dim() == 2:
            self.said.append(message.clone())
            message = sum(self.said)
        return message


def test_several_ranks_write_small_files_and_one_reads_them(tmp_path):
    size, said = 300_007, []
    whole = {name: torch.randn(size) for name in sorted(pieces.VECTORS)}
    rest = {"buffers/one": torch.randn(1000), "tally/rows": torch.arange(60)}
    folder = RunFolder(tmp_path)
    for rank in (1, 0):  # rank 0 binds them together
        cut = Cut(size, Pair(rank, said), True)
        state = {name: tensor[cut.mine] for name, tensor in whole.items()} | rest
        folder.temporary(7).mkdir(parents=True, exist_ok=True)
        if rank == 0:
            shutil.move(folder.temporary(7), tmp_path / "theirs")
            write = pieces.write

            def after(place, *given, write=write):
                for path in (tmp_path / "theirs").iterdir():
                    shutil.copy(path, place)
                return write(place, *given)

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(pieces, "write", after)
                save(folder, 7, state, {"best_value": None}, cut, MIB)
        else:
            save(folder, 7, state, {}, cut, MIB)
    found, facts = folder.checkpoint(7)
    assert len(facts["ends"]) > 8
    assert all(path.stat().st_size <= MIB for path in (tmp_path / "checkpoints" / "7").iterdir())
    assert all(torch.equal(found[name], tensor) for name, tensor in {**whole, **rest}.items())


def test_no_checkpoint_has_more_files_than_can_be_read():
    state = {"weights/values": torch.zeros(10)}
    planned = pieces.plan(state, [slice(0, 10**9)], 1000)
    assert sum(map(len, planned)) <= pieces.MOST


@pytest.mark.parametrize("mib", [0.5, -1.0, float("nan"), float("inf")])
def test_a_size_that_makes_no_sense_is_refused(mib):
    with pytest.raises(SettingError, match=r"checkpoint mib cannot be .*; give at least 1, or 0 for one file"):
        Training(checkpoint_mib=mib)

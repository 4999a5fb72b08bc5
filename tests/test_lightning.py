"""Lightning's Trainer takes the same steps as a loop of one's own: both are in docs/pytorch.md."""

import pytest
import torch
from helpers import blocks

PAGE = blocks.sections("pytorch.md")


@pytest.fixture(scope="module")
def both():
    """What the page's two loops leave behind."""
    names = blocks.run([PAGE["Your own networks"].partition("encoder =")[0], "from torch.utils.data import *"])
    return blocks.run([PAGE["A loop of your own"], PAGE["Lightning"]], names)


def test_lightning_ends_with_the_weights_of_a_loop_of_one_s_own(both):
    theirs, own = both["lit"].work.state_dict(), both["step"].state_dict()
    fresh = both["Step"](*both["compose"]()).state_dict()
    assert theirs.keys() == own.keys()
    for name, tensor in own.items():
        assert torch.allclose(theirs[name], tensor, atol=1e-6), name
    assert any(not torch.allclose(fresh[name], tensor, atol=1e-2) for name, tensor in own.items())


def test_both_learn_and_the_trained_model_is_one_that_unveil_samples_and_judges(both):
    assert both["lit"].global_step == len(both["history"]) == 45
    assert sum(both["history"][-10:]) < 0.9 * sum(both["history"][:10])
    assert both["samples"].shape == (16, 1, 8, 8)
    assert set(both["samples"].unique().tolist()) == {0.0, 1.0}

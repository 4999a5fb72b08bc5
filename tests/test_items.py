"""PyTorch's datasets as sources: what they hold is what is trained on, and a wrong item is named by its index."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import unveil
from unveil.data import from_arrays, items
from unveil.errors import DataError


class Listed(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Flowing(IterableDataset):
    def __init__(self, make):
        self.make = make

    def __iter__(self):
        return iter(self.make())


def images(n=40):
    return torch.randint(0, 256, (n, 1, 6, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def labels(n=40):
    return torch.arange(n) % 3


def gradual(height=6, width=5):
    """Gray that is neither black nor white."""
    return np.linspace(60, 190, height * width).reshape(height, width).astype(np.uint8)


@pytest.mark.parametrize(
    "source",
    [
        TensorDataset(images(), labels()),
        Listed([(x.numpy(), int(y)) for x, y in zip(images(), labels(), strict=True)]),
        Listed([{"image": x, "label": np.int32(y)} for x, y in zip(images(), labels(), strict=True)]),
        Listed([[x, torch.tensor(float(y))] for x, y in zip(images(), labels(), strict=True)]),
        Flowing(lambda: ({"x": x, "label": y} for x, y in zip(images(), labels(), strict=True))),
    ],
    ids=["tensors", "numpy", "mapping", "list", "iterable"],
)
def test_a_dataset_is_what_its_items_are_as_an_array(source):
    assert unveil.load(source).fingerprint == from_arrays(images(), labels()).fingerprint


def test_items_without_labels_and_of_real_numbers():
    x = torch.randn(30, 4)
    found = unveil.load(TensorDataset(x))
    assert found.fingerprint == from_arrays(x).fingerprint
    assert found.train.labels is None


def test_counts_are_taken_when_they_are_asked_for():
    x = torch.arange(60).view(20, 3)
    assert unveil.load(TensorDataset(x), measure="count").space.measure == "count"
    with pytest.raises(DataError, match="measure='count'"):
        unveil.load(TensorDataset(x))


def test_pictures_are_read_as_those_in_a_folder():
    found = unveil.load(Listed([(Image.fromarray(gradual()), 1)] * 20))
    assert str(found.space) == "1x6x5, integers from 0 to 255, counted"
    assert (found.train.values[0, 0].numpy() == gradual()).all()
    colour = unveil.load(Listed([Image.fromarray(np.stack([gradual()] * 3, 2))] * 20))
    assert colour.space.shape == (3, 6, 5)


def test_a_picture_is_turned_as_its_camera_noted():
    turned = Image.fromarray(gradual())
    turned.getexif()[0x0112] = 6
    found = unveil.load(Listed([turned] * 20))
    assert (found.train.values[0, 0].numpy() == np.rot90(gradual(), -1)).all()


def test_splits_stay_apart_and_what_is_missing_is_carved_from_train():
    found = unveil.load({"train": TensorDataset(images()), "test": TensorDataset(images(7) // 2)})
    assert (found.test.values == images(7) // 2).all()
    assert len(found.train) + len(found.validation) == 40
    assert len(found.validation) == 4


def test_names_of_splits_and_of_columns_are_chosen_and_checked():
    odd = Listed([{"scan": x, "kind": y} for x, y in zip(images(), labels(), strict=True)])
    found = unveil.load(odd, image_column="scan", label_column="kind")
    assert found.fingerprint == from_arrays(images(), labels()).fingerprint
    with pytest.raises(DataError, match="has scan, kind, and none is called 'image' or 'x'; name one by image_column"):
        unveil.load(odd)
    with pytest.raises(DataError, match="no column of item 0 of Listed 'scam'; did you mean 'scan'"):
        unveil.load(odd, image_column="scam")
    with pytest.raises(DataError, match="no split 'tran'; did you mean 'train'"):
        unveil.load({"tran": odd})


def wrong(item, place=5):
    rows = [(x, 0) for x in images(12)]
    return [*rows[:place], item, *rows[place + 1 :]]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ((torch.zeros(1, 6, 4, dtype=torch.uint8), 0), r"item 5 of Listed has shape \(1, 6, 4\), and those before"),
        ((torch.zeros(1, 6, 5), 0), "item 5 of Listed has type float32, and those before uint8"),
        ((torch.full((1, 6, 5), torch.nan), 0), "item 5 of Listed has entries that are not finite"),
        ((images()[0], 0, 1), "item 5 of Listed has 3 parts"),
        ((images()[0],), "item 5 of Listed has no label, unlike those before"),
        ((images()[0], 0.5), "item 5 of Listed has the label '0.5'"),
        ((images()[0], "cat"), "item 5 of Listed has the label 'cat'"),
        (("cat", 0), "item 5 of Listed is str of type <U3"),
        (([[1, 2], [3]], 0), "item 5 of Listed is no array"),
        (None, "item 5 of Listed is NoneType"),
        ((Image.fromarray(gradual()), 0), "item 5 of Listed has shape"),
        ({"y": 1}, "item 5 of Listed has y, and none is called 'image' or 'x'"),
    ],
)
@pytest.mark.parametrize("flowing", [False, True])
def test_a_wrong_item_is_named(item, said, flowing):
    source = Flowing(lambda: wrong(item)) if flowing else Listed(wrong(item))
    with pytest.raises(DataError, match=said.replace("Listed", type(source).__name__)):
        unveil.load(source)


def test_what_single_precision_does_not_hold_is_said_of_items_too():
    with pytest.raises(DataError, match=r"item 1 of Listed holds 1e\+300, and single precision ends at 3.4e38"):
        unveil.load(Listed([np.zeros(3), np.full(3, 1e300)]))
    with pytest.raises(DataError, match=r"Listed: numbers of entry 0, .*are hardly told apart"):
        unveil.load(Listed([np.array([1.7e9 + k % 3, 0.5]) for k in range(20)]))
    with pytest.raises(DataError, match="item 0 of Listed has entries that are masked"):
        unveil.load(Listed([np.ma.array([1.0, 2.0], mask=[True, False])]))
    with pytest.raises(DataError, match=r"item 0 of Listed has the label '1e.19'"):
        unveil.load(Listed([(np.zeros(3), 1e19)]))


def test_an_error_of_the_dataset_itself_names_the_item():
    class Broken(Listed):
        def __getitem__(self, index):
            return self.items[index] if index != 3 else {}["gone"]

    with pytest.raises(DataError, match="item 3 of Broken cannot be read: KeyError: 'gone'; mend the dataset"):
        unveil.load(Broken(images()))


def test_what_never_ends_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(items, "ROOM", 1e-6)  # of the memory: a few thousand small images
    asked = []
    endless = Flowing(lambda: (asked.append(1) or one for one in itertools.cycle(images())))
    with pytest.raises(DataError, match=r"beyond what is read into memory, 0.0 GB; give rows=N for the first N items"):
        unveil.load(endless)
    assert len(asked) < 50_000  # those of a machine with a terabyte
    assert unveil.load(endless, rows=40).fingerprint == from_arrays(images()).fingerprint


def test_other_mistakes():
    with pytest.raises(DataError, match="Flowing has no items"):
        unveil.load(Flowing(lambda: iter([])))
    with pytest.raises(DataError, match="brings its own labels"):
        unveil.load(TensorDataset(images()), labels())
    with pytest.raises(DataError, match="datasets cannot take levels"):
        unveil.load(TensorDataset(images()), levels=3)
    with pytest.raises(DataError, match="0 rows cannot be taken"):
        unveil.load(TensorDataset(images()), rows=0)


def test_training_takes_a_dataset_as_it_is(tmp_path):
    run = unveil.train(TensorDataset(images(), labels()), epochs=1, batch_size=8, latent=2, out=tmp_path / "run")
    assert run.manifest["data"]["name"] == "TensorDataset"
    assert not run.manifest["data"]["loadable"]


def test_splits_are_named_once_and_one_is_train():
    one = TensorDataset(images())
    with pytest.raises(DataError, match="two splits for validation, train, val, valid; give one"):
        unveil.load({"train": one, "val": one, "valid": one})
    with pytest.raises(DataError, match="the splits are test, and none is train; name one 'train'"):
        unveil.load({"test": one})

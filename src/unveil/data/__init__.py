"""Where x comes from: spaces, readings, splits and batches. Imports torch alone; what a source needs, it imports itself."""

from unveil.data.arrays import from_arrays
from unveil.data.batch import Batch, Peers
from unveil.data.columns import Column, Field, column
from unveil.data.dataset import Dataset
from unveil.data.feed import Feed, Looks
from unveil.data.ink import is_ink
from unveil.data.load import NAMED, load, load_again, load_like
from unveil.data.reading import Binarise, Gray, Plain, Reading
from unveil.data.space import MEANING, Measure, Space
from unveil.data.split import Split
from unveil.data.synthetic import LinearGaussian

__all__ = [
    "MEANING",
    "NAMED",
    "Batch",
    "Binarise",
    "Column",
    "Dataset",
    "Feed",
    "Field",
    "Gray",
    "LinearGaussian",
    "Looks",
    "Measure",
    "Peers",
    "Plain",
    "Reading",
    "Space",
    "Split",
    "column",
    "from_arrays",
    "is_ink",
    "load",
    "load_again",
    "load_like",
]

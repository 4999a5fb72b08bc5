"""Run folders and checkpoints. Nothing that a file contains is ever executed."""

from unveil.store.files import write, write_json
from unveil.store.folder import FORMAT, RunFolder, free_path
from unveil.store.half import packed
from unveil.store.layers import LAYERS
from unveil.store.report import OWN, Ledger, Reports, name_of
from unveil.store.spec import build, describe, fill, size
from unveil.store.tensors import digest

__all__ = [
    "FORMAT",
    "LAYERS",
    "OWN",
    "Ledger",
    "Reports",
    "RunFolder",
    "build",
    "describe",
    "digest",
    "fill",
    "free_path",
    "name_of",
    "packed",
    "size",
    "write",
    "write_json",
]

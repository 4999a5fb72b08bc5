"""Run folders and checkpoints. Nothing that a file contains is ever executed."""

from unveil.store.files import write, write_json
from unveil.store.folder import FORMAT, RunFolder, free_path
from unveil.store.half import packed
from unveil.store.report import Ledger, Reports
from unveil.store.spec import build, describe, fill, size
from unveil.store.tensors import digest

__all__ = [
    "FORMAT",
    "Ledger",
    "Reports",
    "RunFolder",
    "build",
    "describe",
    "digest",
    "fill",
    "free_path",
    "packed",
    "size",
    "write",
    "write_json",
]

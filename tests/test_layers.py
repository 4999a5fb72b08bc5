"""Data flows one way: each layer may import those before it, and nothing else."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "unveil"
ORDER = [
    {"version", "errors", "words"},
    {"randomness", "part", "hardware"},
    {"data", "networks"},
    {"distributions"},
    {"parts"},
    {"models"},
    {"objectives"},
    {"evaluation"},
    {"generation", "store"},
    {"training", "remote"},
    {"recipes", "pictures"},
    {"album", "preflight"},
    {"run", "logs"},
    {"opening"},
    {"explain", "serving"},
    {"launch"},
    {"refit", "pages", "estimator"},
    {"doctor", "verify", "export", "tuning"},
    {"explorer", "hub"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
NEVER = {
    "objectives": {"parts", "networks"},
    "pictures": {"models", "generation", "parts", "objectives"},
    "networks": {"data"},
    "store": {"models", "parts", "training", "data"},
    "training": {"parts", "networks", "generation"},
}
LIGHT = {"data", "networks", "randomness", "part"}  # these import torch and numpy; the rest only where it is used


def imports(path, top_only=False):
    tree = ast.parse(path.read_text())
    guarded = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    typing_only = {id(inner) for block in guarded for inner in ast.walk(block)}
    for node in tree.body if top_only else ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from (f"unveil.{alias.name}" for alias in node.names) if module == "unveil" else [module]


def modules():
    return [path for path in SRC.rglob("*.py") if path.parent != SRC or not path.stem.startswith("__")]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_each_module_imports_only_what_stands_before_it(path):
    room = path.relative_to(SRC).parts[0].removesuffix(".py")
    assert room in LEVEL, f"{room} has no place in the order of layers"
    rooms = {name.split(".")[1] for name in imports(path) if name.startswith("unveil.")} - {room}
    assert {other for other in rooms if LEVEL.get(other, 99) >= LEVEL[room]} == set()
    assert rooms & NEVER.get(room, set()) == set()


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_data_and_networks_need_only_torch(path):
    if path.relative_to(SRC).parts[0].removesuffix(".py") in LIGHT:
        outside = {name.split(".")[0] for name in imports(path, top_only=True)} - sys.stdlib_module_names
        assert outside <= {"torch", "numpy", "unveil"}


def test_nothing_prints_but_the_terminal_face():
    for path in modules():
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert "print" not in names or path.parent.name == "cli", path


CALLS = {"eval", "exec", "compile", "__import__", "torch.load", "torch.save", "importlib.import_module"}
MODULES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def executes(source):
    """What in this source could run what a file says: pickles by any name, and code from text."""
    nodes = list(ast.walk(ast.parse(source)))
    for call in (node for node in nodes if isinstance(node, ast.Call)):
        called = ast.unparse(call.func)
        allows = {ast.unparse(word.value) for word in call.keywords if word.arg == "allow_pickle"}
        if called in CALLS or (called in ("np.load", "numpy.load") and allows != {"False"}) or allows - {"False"}:
            yield called
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    yield from MODULES & {name.split(".")[0] for name in names}


@pytest.mark.parametrize("bad", ["import pickle", "torch.load(f)", "np.load(f)", "x.load(f, allow_pickle=True)", "eval(t)"])
def test_the_search_for_executed_files_finds_them(bad):
    assert list(executes(bad)) != []


def test_nothing_that_a_file_contains_can_be_executed():
    for path in modules():
        assert list(executes(path.read_text())) == [], path


@pytest.mark.parametrize("module", ["unveil", "unveil.cli", "unveil.training.config"])
def test_what_must_answer_at_once_imports_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_neither_training_nor_evaluation_nor_an_opened_run_imports_a_computer_algebra(tmp_path):
    # sympy takes 0.3 s: torch.broadcast_shapes, to_empty from a device without memory and torch.optim bring it along, and
    # with the rest of the compiler a mode that counts operations
    code = """
import sys, unveil
run = unveil.train("digits", out=sys.argv[1], epochs=1, precision="bfloat16")
run.evaluate(images=3, samples=2)
unveil.open("mnist-2d").sample(2)
sys.exit("sympy" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")]).returncode == 0

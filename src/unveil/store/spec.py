"""The spec: what a model and its objective are made of, as plain data.

Every part is described by the name of its class and the arguments of its constructor, which it keeps as attributes of
the same names; how torch's own layers do is in `layers`. Parts may be shared, so the spec is a graph: a list in which each
part stands once, after all that it is made of. Reading a spec builds known classes from numbers and names; nothing in it is
ever executed or imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from unveil.errors import RunError, SettingError, unknown
from unveil.store import layers

MOST_MODULES = 5_000
"""Of a model: several times those of the deepest hierarchies, and some 20 MB of Python objects."""


def describe(**roots: nn.Module) -> dict[str, Any]:
    """The spec of some modules: `{"parts": [...], "roots": {name: index}}`.

    Raises:
        SettingError: a part whose constructor arguments cannot be told from its attributes, or are no plain data.
    """
    parts: list[dict[str, Any]] = []
    places: dict[int, int] = {}

    def place(module: nn.Module) -> int:
        if id(module) not in places:
            name = layers.name_of(type(module))
            given = layers.arguments(module) if name in layers.LAYERS else _arguments(module)
            arguments = {argument: value(one, module) for argument, one in given.items()}
            places[id(module)] = len(parts)
            parts.append({"type": name, "arguments": arguments})
        return places[id(module)]

    def value(given: Any, owner: nn.Module) -> Any:
        if isinstance(given, (list, tuple, nn.ModuleList)):
            return [value(item, owner) for item in given]
        if isinstance(given, nn.Module):
            return {"part": place(given)}
        if isinstance(given, float) and not isfinite(given):
            raise SettingError(f"{type(owner).__name__} is built from {given}, which cannot be saved; give a finite number")
        if given is None or isinstance(given, (bool, int, float, str)):
            return given
        raise SettingError(
            f"{type(owner).__name__} is built from a {type(given).__name__}, which cannot be saved; "
            "build it from numbers, text, sequences of them and modules"
        )

    return {"roots": {name: place(module) for name, module in roots.items()}, "parts": parts}


def _arguments(module: nn.Module) -> dict[str, Any]:
    kind = type(module)
    if kind.__init__ is nn.Module.__init__:  # which takes anything and means nothing by it
        return {}
    found = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise SettingError(f"{kind.__name__} takes *{name}, so it cannot be saved; wrap it in a module of your own")
        if name not in module.__dict__ and name not in module._modules:
            raise SettingError(
                f"{kind.__name__} does not keep its argument {name!r}, so it cannot be saved; "
                f"say self.{name} = {name} in its __init__, or wrap it in a module of your own"
            )
        found[name] = getattr(module, name)
    return found


def build(spec: Any, known: Mapping[str, type[nn.Module]]) -> dict[str, nn.Module]:
    """The modules that a spec describes, on the meta device: without memory, until their tensors are loaded.

    Args:
        spec: what `describe` gave, perhaps from a hostile file.
        known: the classes that may be built, by name.

    Raises:
        RunError: a class that is not known, or a spec that is none.
    """
    built: list[nn.Module] = []

    def value(given: Any) -> Any:
        if isinstance(given, list):
            return [value(item) for item in given]
        if isinstance(given, dict):
            index = given.get("part")
            # a part stands after all that it is made of, hence no cycles
            if set(given) != {"part"} or type(index) is not int or not 0 <= index < len(built):
                raise RunError("the spec in run.json is damaged: a part refers to one that is not there")
            return built[index]
        return given

    try:
        with torch.device("meta"), _few_modules():
            for part in spec["parts"]:
                if part["type"] not in known:
                    hint = "if it is your own, hand its class over: unveil.open(path, parts=[...])"
                    raise RunError(f"{unknown('part', str(part['type']), known)}; {hint}")
                arguments = {str(name): value(given) for name, given in part["arguments"].items()}
                kind = known[part["type"]]
                built.append(layers.make(kind, arguments) if part["type"] in layers.LAYERS else kind(**arguments))
        return {str(name): value({"part": index}) for name, index in spec["roots"].items()}
    except RunError:
        raise
    except Exception as error:  # whatever a constructor makes of hostile arguments
        raise RunError(f"the spec in run.json cannot be built: {type(error).__name__}: {str(error)[:120]}") from None


def size(modules: nn.Module) -> int:
    """Bytes of the parameters and buffers of a module, each counted once."""
    return sum(tensor.nbytes for tensor in {id(t): t for t in (*modules.parameters(), *modules.buffers())}.values())


@contextmanager
def _few_modules() -> Iterator[None]:
    """Within, whoever builds modules without end is stopped."""
    count = 0

    def counted(owner: nn.Module, name: str, module: nn.Module | None) -> None:
        nonlocal count
        count += 1
        if count > MOST_MODULES:
            raise RunError(f"the spec in run.json is damaged: it describes more than {MOST_MODULES:,} modules")

    hook = register_module_module_registration_hook(counted)
    try:
        yield
    finally:
        hook.remove()


def fill(modules: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Give a module from `build` memory on the CPU and the values of its parameters and buffers.

    Raises:
        RunError: names, shapes or types differ; nothing was allocated.
    """
    wanted = {name: tensor for named in (modules.named_parameters(), modules.named_buffers()) for name, tensor in named}
    if difference := sorted(set(wanted) ^ set(tensors)):
        raise RunError(f"{source} does not fit the spec in run.json: {_some(difference)} stand in only one of the two")
    wrong = [
        name
        for name, tensor in wanted.items()
        if tensor.shape != tensors[name].shape or tensor.dtype != tensors[name].dtype
    ]
    if wrong:
        raise RunError(f"{source} does not fit the spec in run.json: {_some(wrong)} have another shape or type")
    # not by to_empty, whose way from a device without memory imports sympy: 0.3 s of each command that opens a run
    made = {
        id(tensor): nn.Parameter(value, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else value
        for tensor, value in ((tensor, tensors[name].clone()) for name, tensor in wanted.items())
    }
    for module in modules.modules():
        named = module.named_parameters, module.named_buffers
        for name, tensor in [pair for each in named for pair in each(recurse=False, remove_duplicate=False)]:
            setattr(module, name, made[id(tensor)])


def _some(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

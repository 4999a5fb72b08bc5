"""Torch's own layers as plain data: `nn.Linear` and the arguments of its constructor that are not the usual ones.

Those layers keep what they are built from under the names of their constructor's arguments, but for a few habits: of a bias
they keep the tensor or None, where the layer is and of which type is told by its tensors, and a `Sequential` keeps layers
under names of their own. Which layers a file may name is written down here; none of them does anything but compute.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import nn

SHAPED = (
    *(nn.Flatten, nn.Unflatten, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d),
    *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d, nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
    *(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
)
WEIGHTED = (
    *(nn.Linear, nn.Bilinear, nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.PReLU),
)
POINTWISE = (
    *(nn.CELU, nn.ELU, nn.GELU, nn.GLU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.LeakyReLU, nn.LogSigmoid),
    *(nn.LogSoftmax, nn.Mish, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softmax, nn.Softmin, nn.Softplus),
    *(nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Identity),
)
LAYERS: dict[str, type[nn.Module]] = {
    f"nn.{kind.__name__}": kind for kind in (nn.Sequential, *SHAPED, *WEIGHTED, *POINTWISE)
}
"""Torch's layers that a spec may name, by the name that they have there."""
PLACED = ("device", "dtype")
"""What a layer's tensors tell."""


def name_of(kind: type[nn.Module]) -> str:
    """What a class is called in a spec: torch's own layers by `nn.`, so that somebody's own may have the rest."""
    name = f"nn.{kind.__name__}"
    return name if LAYERS.get(name) is kind else kind.__name__


def arguments(layer: nn.Module) -> dict[str, Any]:
    """What to give `make` for a layer like this one of torch's."""
    if isinstance(layer, nn.Sequential):
        return {"layers": [[name, one] for name, one in layer._modules.items()]}
    if isinstance(layer, nn.Identity):  # which takes anything and means nothing by it
        return {}
    found = {}
    for name, parameter in _usual(type(layer)).items():
        kept = getattr(layer, name)
        given = kept is not None if name == "bias" else kept
        if given != parameter.default:
            found[name] = given
    return found


def make(kind: type[nn.Module], given: Mapping[str, Any]) -> nn.Module:
    """The layer that `arguments` tells of; torch's layers take tuples where a file has lists."""
    if kind is nn.Sequential:
        return nn.Sequential(OrderedDict((str(name), layer) for name, layer in given["layers"]))
    return kind(**{name: _tuple(value) for name, value in given.items()})


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


def _usual(kind: type[nn.Module]) -> dict[str, inspect.Parameter]:
    if kind.__init__ is nn.Module.__init__:
        return {}
    signature = inspect.signature(kind).parameters
    return {name: parameter for name, parameter in signature.items() if name not in PLACED}

"""The operations of a bundle's graphs in NumPy alone, with ONNX's names and meanings. It lies beside interpreter.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

if __package__:
    from unveil.export.spatial import conv, conv_transpose, depth_to_space, pad, resize
else:
    from spatial import conv, conv_transpose, depth_to_space, pad, resize  # type: ignore[import-not-found,no-redef]

TYPES = {1: np.float32, 2: np.uint8, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}
Array = Any


def _sigmoid(x: Array) -> Array:
    return np.exp(-np.logaddexp(x.dtype.type(0), -x))


def _softmax(x: Array, axis: int = -1) -> Array:
    power = np.exp(x - x.max(axis, keepdims=True))
    return power / power.sum(axis, keepdims=True)


def _log_softmax(x: Array, axis: int = -1) -> Array:
    low = x - x.max(axis, keepdims=True)
    return low - np.log(np.exp(low).sum(axis, keepdims=True))


def _cross_entropy(scores: Array, labels: Array, reduction: str = "mean", **rest: Any) -> Array:
    nats = -np.take_along_axis(_log_softmax(scores, 1), np.expand_dims(labels, 1), 1).squeeze(1)
    return nats if reduction == "none" else np.asarray(nats.sum() if reduction == "sum" else nats.mean())


def _erf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[x.dtype])(x) if x.size else x


def _gelu(x: Array, approximate: str = "none") -> Array:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x**3)))
    return (0.5 * x * (1 + _erf(x / np.float32(math.sqrt(2))))).astype(x.dtype)


def _gemm(
    a: Array, b: Array, c: Array = None, alpha: float = 1, beta: float = 1, transA: int = 0, transB: int = 0
) -> Array:
    product = (a.T if transA else a) @ (b.T if transB else b)
    product = product if alpha == 1 else product * product.dtype.type(alpha)
    return product if c is None else product + (c if beta == 1 else c * c.dtype.type(beta))


def _reduce(function: Any) -> Any:
    def reduce(x: Array, axes: Array = None, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Array:
        if axes is None or not len(axes):
            if noop_with_empty_axes:
                return x
            return np.asarray(function(x, axis=None, keepdims=bool(keepdims)))
        return np.asarray(function(x, axis=tuple(int(axis) for axis in axes), keepdims=bool(keepdims)))

    return reduce


def _log_sum_exp(x: Array, axis: Any, keepdims: bool) -> Array:
    top = x.max(axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    total = np.log(np.exp(x - top).sum(axis, keepdims=True)) + top
    return total if keepdims else np.squeeze(total, axis)


def _arg(function: Any) -> Any:
    def arg(x: Array, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
        found = function(x, axis)
        return np.expand_dims(found, axis) if keepdims else found

    return arg


def _reshape(x: Array, shape: Array, allowzero: int = 0) -> Array:
    sizes = [x.shape[place] if size == 0 and not allowzero else int(size) for place, size in enumerate(shape)]
    return x.reshape(sizes)


def _split(x: Array, sizes: Array = None, axis: int = 0, num_outputs: int = 0) -> list[Array]:
    if sizes is None:
        each = -(-x.shape[axis] // num_outputs)
        return np.split(x, [each * place for place in range(1, num_outputs)], axis)
    return np.split(x, np.cumsum(sizes)[:-1], axis)


def _slice(x: Array, starts: Array, ends: Array, axes: Array = None, steps: Array = None) -> Array:
    which = [slice(None)] * x.ndim
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis, step = int(place if axes is None else axes[place]), int(1 if steps is None else steps[place])
        size = x.shape[axis]
        end = None if step < 0 and end < -size else int(np.clip(end, -size - 1, size))
        which[axis] = slice(int(np.clip(start, -size, size)), end, step)
    return x[tuple(which)]


def _expand(x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(int(size) for size in shape)))


def _gather_nd(x: Array, index: Array, batch_dims: int = 0) -> Array:
    if batch_dims:
        return np.stack([_gather_nd(one, where, batch_dims - 1) for one, where in zip(x, index, strict=True)])
    return x[tuple(np.moveaxis(index, -1, 0))]


def _scatter(x: Array, index: Array, updates: Array, axis: int = 0, reduction: str = "none") -> Array:
    made = x.copy()
    np.put_along_axis(made, index, updates, axis)
    return made


def _scatter_nd(x: Array, index: Array, updates: Array, reduction: str = "none") -> Array:
    made = x.copy()
    made[tuple(np.moveaxis(index, -1, 0))] = updates
    return made


def _one_hot(index: Array, depth: Array, values: Array, axis: int = -1) -> Array:
    size = int(np.reshape(depth, -1)[0])
    where = np.moveaxis((index % size)[..., None] == np.arange(size), -1, axis)
    return np.where(where, values[1], values[0])


def _layer_norm(x: Array, scale: Array, bias: Array = None, axis: int = -1, epsilon: float = 1e-5, **rest: Any) -> Array:
    axes = tuple(range(axis % x.ndim, x.ndim))
    centred = x - x.mean(axes, keepdims=True)
    made = centred / np.sqrt(np.square(centred).mean(axes, keepdims=True) + x.dtype.type(epsilon)) * scale
    return made if bias is None else made + bias


def _top(x: Array, count: Array, axis: int = -1, largest: int = 1, sorted: int = 1) -> list[Array]:
    order = np.argsort(-x if largest else x, axis, kind="stable").take(np.arange(int(np.reshape(count, -1)[0])), axis)
    return [np.take_along_axis(x, order, axis), order]


def _divide(a: Array, b: Array) -> Array:
    """As ONNX does: integers towards zero."""
    return a / b if a.dtype.kind == "f" else np.trunc(a / b).astype(a.dtype)


def _power(x: Array, y: Array) -> Array:
    return np.square(x) if np.ndim(y) == 0 and y == 2 else np.power(x, y).astype(x.dtype)


def _unsqueeze(x: Array, axes: Array) -> Array:
    return np.expand_dims(x, tuple(int(axis) for axis in axes))


def _squeeze(x: Array, axes: Array = None) -> Array:
    return np.squeeze(x, None if axes is None else tuple(int(axis) for axis in axes))


def _take(x: Array, index: Array, axis: int = 0) -> Array:
    return np.asarray(x.take(index, axis))


def _cumulate(x: Array, axis: Array, exclusive: int = 0, reverse: int = 0) -> Array:
    where = int(np.reshape(axis, -1)[0])
    made = np.flip(np.flip(x, where).cumsum(where, dtype=x.dtype), where) if reverse else x.cumsum(where, dtype=x.dtype)
    return made - x if exclusive else made


OPERATIONS: dict[str, Any] = {
    "Abs": np.abs,
    "Acos": np.arccos,
    "Add": np.add,
    "And": np.logical_and,
    "ArgMax": _arg(np.argmax),
    "ArgMin": _arg(np.argmin),
    "Asin": np.arcsin,
    "Atan": np.arctan,
    "Cast": lambda x, to, **rest: x.astype(TYPES[to]),
    "Ceil": np.ceil,
    "Clip": lambda x, low=None, high=None: x if low is high is None else np.clip(x, low, high),
    "Concat": lambda *parts, axis: np.concatenate(parts, axis),
    "ConstantOfShape": lambda shape, value=(0.0, 1): np.full(tuple(shape), value[0], TYPES[value[1]]),
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Cos": np.cos,
    "Cosh": np.cosh,
    "CumSum": _cumulate,
    "DepthToSpace": depth_to_space,
    "Div": _divide,
    "Equal": np.equal,
    "Erf": _erf,
    "Exp": np.exp,
    "Expand": _expand,
    "Flatten": lambda x, axis=1: x.reshape(math.prod(x.shape[:axis]), -1),
    "Floor": np.floor,
    "Gather": _take,
    "GatherElements": lambda x, index, axis=0: np.take_along_axis(x, index, axis),
    "GatherND": _gather_nd,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Identity": lambda x: x,
    "IsInf": np.isinf,
    "IsNaN": np.isnan,
    "LayerNormalization": _layer_norm,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Log": np.log,
    "LogSoftmax": _log_softmax,
    "MatMul": np.matmul,
    "Max": lambda *parts: np.maximum.reduce(np.broadcast_arrays(*parts)),
    "Min": lambda *parts: np.minimum.reduce(np.broadcast_arrays(*parts)),
    "Mod": lambda a, b, fmod=0: np.fmod(a, b) if fmod else np.mod(a, b),
    "Mul": np.multiply,
    "Neg": np.negative,
    "NonZero": lambda x: np.stack(np.nonzero(x)),
    "Not": np.logical_not,
    "OneHot": _one_hot,
    "Or": np.logical_or,
    "Pad": pad,
    "Pow": _power,
    "Range": lambda start, end, step: np.arange(start, end, step, dtype=start.dtype),
    "Reciprocal": lambda x: 1 / x,
    "ReduceLogSumExp": _reduce(_log_sum_exp),
    "ReduceMax": _reduce(np.max),
    "ReduceMean": _reduce(np.mean),
    "ReduceMin": _reduce(np.min),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "ReduceSumSquare": _reduce(lambda x, axis, keepdims: np.square(x).sum(axis, keepdims=keepdims)),
    "ReduceL2": _reduce(lambda x, axis, keepdims: np.sqrt(np.square(x).sum(axis, keepdims=keepdims))),
    "Relu": lambda x: np.maximum(x, 0),
    "Reshape": _reshape,
    "Resize": resize,
    "Round": np.round,
    "ScatterElements": _scatter,
    "ScatterND": _scatter_nd,
    "Shape": lambda x, start=0, end=None: np.asarray(x.shape[start:end], np.int64),
    "Sigmoid": _sigmoid,
    "Sign": np.sign,
    "Sin": np.sin,
    "Sinh": np.sinh,
    "Slice": _slice,
    "Softmax": _softmax,
    "SoftmaxCrossEntropyLoss": _cross_entropy,
    "Softplus": lambda x: np.logaddexp(x.dtype.type(0), x),
    "Split": _split,
    "Sqrt": np.sqrt,
    "Squeeze": _squeeze,
    "Sub": np.subtract,
    "Sum": lambda *parts: np.add.reduce(np.broadcast_arrays(*parts)),
    "Tan": np.tan,
    "Tanh": np.tanh,
    "Tile": lambda x, repeats: np.tile(x, tuple(int(size) for size in repeats)),
    "TopK": _top,
    "Transpose": lambda x, perm=None: np.transpose(x, perm),
    "Trilu": lambda x, k=None, upper=1: (np.triu if upper else np.tril)(x, 0 if k is None else int(k)),
    "Unsqueeze": _unsqueeze,
    "Where": np.where,
    "Xor": np.logical_xor,
}
"""By ONNX's names, as of opset 20."""

"""A step on a GPU as one CUDA graph: hundreds of small operations are started by one call of the host.

The operations of a small network take microseconds each, and starting them from Python takes longer than that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)

WARM = 3
"""Times that a function is called as it is, before it is captured: libraries choose and allocate in their first calls."""


class Captured:
    """A function that reads and writes tensors at fixed places alone, called again and again.

    The first calls are the function's own. Then it is captured, which runs nothing, and from there on replayed. The noise
    of each replay is that of the default generator, which whoever calls has seeded. Where it cannot be captured, since the
    host must know a value on the way, it stays the function that it is.

    Args:
        function: asks for nothing from the host, and gives a tensor.
        device: of all that it touches, a CUDA device.
        undo: puts right what a failed capture left behind.
    """

    def __init__(self, function: Callable[[], Tensor], device: torch.device, undo: Callable[[], None]) -> None:
        self.function, self.device, self.undo = function, device, undo
        self.calls, self.possible = 0, True
        self.graph: torch.cuda.CUDAGraph | None = None
        self.stream = torch.cuda.Stream(device)
        self.result = torch.zeros((), device=device)

    def __call__(self) -> Tensor:
        if self.graph is None and self.calls >= WARM and self.possible:
            self._capture()
        if self.graph is not None:
            self.graph.replay()
            return self.result
        self.calls += 1
        # not on the default stream, where autograd would tie later work to what the graph must not wait for
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            found = self.function()
        current.wait_stream(self.stream)
        return found

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.device(self.device), torch.cuda.graph(graph, stream=self.stream):
                self.result = self.function()
        except RuntimeError as error:
            self.possible = False
            self.undo()
            log.info("the step is not captured as a CUDA graph: %s", str(error).splitlines()[0])
            return
        self.graph = graph

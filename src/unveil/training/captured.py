"""A step on a GPU as one CUDA graph: hundreds of small operations are started by one call of the host.

The operations of a small network take microseconds each, and starting them from Python takes longer than that.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from unveil.errors import SettingError

log = logging.getLogger(__name__)

WARM = 3
"""Times that a function is called as it is, before it is captured: libraries choose and allocate in their first calls."""


class Captured:
    """A function that reads and writes tensors at fixed places alone, called again and again.

    The first calls are the function's own. Where the last of them made the host wait for the device, as a value that is
    asked for does, it stays the function that it is. Else it is captured, which runs nothing, and from there on replayed.
    The noise of each replay is that of the default generator, which whoever calls has seeded.

    Args:
        function: gives a tensor.
        device: of all that it touches, a CUDA device.
    """

    def __init__(self, function: Callable[[], Tensor], device: torch.device) -> None:
        self.function, self.device = function, device
        self.calls, self.waits = 0, ""
        self.graph: torch.cuda.CUDAGraph | None = None
        self.stream = torch.cuda.Stream(device)
        self.result = torch.zeros((), device=device)

    def __call__(self) -> Tensor:
        """Raises SettingError: a capture failed for another reason than that the host has to wait."""
        if self.graph is None and self.calls == WARM and not self.waits:
            self._capture()
        if self.graph is not None:
            self.graph.replay()
            return self.result
        self.calls = min(self.calls + 1, WARM)
        # not on the default stream, where autograd would tie later work to what the graph must not wait for
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream), self._watched() if self.calls == WARM and not self.waits else nullcontext():
            found = self.function()
        current.wait_stream(self.stream)
        return found

    def forget(self) -> None:
        """Capture anew: a tensor that the function reads lies somewhere else now."""
        self.graph, self.calls, self.waits = None, 0, ""

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Within, notice where the host waits for the device: in a capture that is an error that cannot be undone."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield
            finally:
                torch.cuda.set_sync_debug_mode(before)
        waits = [str(one.message).splitlines()[0] for one in found if "synchroniz" in str(one.message)]
        if waits:
            self.waits = waits[0]
            log.info("the step is not captured as a CUDA graph: %s", self.waits)

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.device(self.device), torch.cuda.graph(graph, stream=self.stream):
                self.result = self.function()
        except RuntimeError as error:
            raise SettingError(
                f"the step cannot be captured as a CUDA graph ({str(error).splitlines()[0]}); train with capture=False, "
                "--no-capture"
            ) from error
        self.graph = graph

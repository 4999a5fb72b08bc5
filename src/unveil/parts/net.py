"""A network and a head make a conditional distribution: `Net(encoder, Gaussian(16))` is q(z|x)."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from unveil.data import Measure
from unveil.errors import SettingError
from unveil.part import Part
from unveil.parts.heads import Head


@runtime_checkable
class StartsAnywhere(Protocol):
    """A network whose output can be told where to begin: its last bias."""

    def start_at(self, output: Tensor) -> None:
        """Let the output begin around `output`, the shape of one output."""
        ...


class Net(Part):
    """The distribution whose parameters a network computes from what is given.

    Args:
        network: any module from (N, *given) to (N, *parameters); in a conditional model from that and the context (N, C).
        head: what makes those parameters a distribution.

    Example:
        >>> import torch
        >>> from unveil.parts import Gaussian, Net
        >>> posterior = Net(torch.nn.Linear(3, 2 * 4), Gaussian(4))
        >>> q = posterior(torch.zeros(5, 3))
        >>> q.batch_shape, q.event_shape
        (torch.Size([5]), torch.Size([4]))
    """

    def __init__(self, network: nn.Module, head: Head) -> None:
        super().__init__()
        self.network = network
        self.head = head

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Distribution:
        if given is None:
            raise SettingError("this conditional is a network and needs something given; a prior without is Standard()")
        lead = given.shape[:leading]
        inputs = [given] if context is None else [given, context]
        if leading != 1:
            inputs = [tensor.flatten(0, leading - 1) for tensor in inputs]
        parameters = self.network(*inputs)
        distribution: Distribution = self.head(parameters if leading == 1 else parameters.unflatten(0, lead))
        return distribution

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures of the spaces that it is a likelihood for."""
        return self.head.measures

    @property
    def normalised(self) -> bool:
        """Whether its `log_prob` is a log-likelihood of x."""
        return self.head.normalised

    @torch.no_grad()
    def start(self, mean: Tensor) -> None:
        """Let a fresh likelihood begin at `mean` (*event) of the data, where head and network can: it saves an epoch."""
        begin = self.head.start(mean)
        if begin is not None and isinstance(self.network, StartsAnywhere):
            self.network.start_at(begin)

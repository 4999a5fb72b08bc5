"""Steps that cannot spoil the weights: a non-finite loss or gradient is masked on the device, and remembered.

Fused optimisers take two tensors for the sake of mixed precision: `grad_scale`, by which gradients are divided, and
`found_inf`, which makes the whole update nothing. Clipping is the first and the guard is the second, so neither costs a
pass over the weights nor makes the host wait.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class GuardedAdam:
    """Adam with clipping, for which a step with a non-finite loss or gradient did not happen.

    Args:
        parameters: what is trained.
        clip: largest norm of the gradient.

    Source: Kingma & Ba 2015, Adam, arXiv:1412.6980.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], clip: float) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.clip = clip
        self.adam = torch.optim.Adam(self.parameters, fused=True)

    def step(self, loss: Tensor, learning_rate: float) -> Tensor:
        """Update the weights from their gradients, and forget those.

        Returns:
            A scalar bool: whether loss and gradients were finite, hence whether anything changed.
        """
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        finite = torch.isfinite(norm) & torch.isfinite(loss.detach())
        self.adam.grad_scale = (norm / self.clip).clamp(min=1.0)  # type: ignore[attr-defined]
        self.adam.found_inf = (~finite).float()  # type: ignore[attr-defined]
        for group in self.adam.param_groups:
            group["lr"] = learning_rate
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        return finite

    def tensors(self) -> dict[str, Tensor]:
        """The optimiser's state as named tensors, live."""
        state = self.adam.state
        return {
            f"{place}.{name}": value
            for place, parameter in enumerate(self.parameters)
            for name, value in sorted(state.get(parameter, {}).items())
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state that `tensors` gave."""
        for name, value in tensors.items():
            place, _, field = name.partition(".")
            self.adam.state[self.parameters[int(place)]][field] = value.clone()

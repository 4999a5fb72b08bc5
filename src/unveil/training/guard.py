"""Steps that cannot spoil the weights: a non-finite loss or gradient is masked on the device, and remembered.

torch's fused Adam takes two tensors for the sake of mixed precision: `grad_scale`, by which gradients are divided, and
`found_inf`, which makes the whole update nothing. Clipping is the first and the guard is the second, so neither costs a
pass over the weights nor makes the host wait. The operation is called by itself: `torch.optim.Adam` around it imports the
whole compiler, a second in which a small model is half trained.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unveil.training.flat import Flat

BETAS = (0.9, 0.99)
"""Of the moments. Over a few hundred steps a second moment that remembers 1000 is still mostly its own start."""
EPSILON = 1e-8


class GuardedAdam:
    """Adam with clipping, for which a step with a non-finite loss or gradient did not happen.

    Args:
        flat: what is trained.
        clip: largest norm of the gradient.

    Source: Kingma & Ba 2015, Adam, arXiv:1412.6980.
    """

    def __init__(self, flat: Flat, clip: float) -> None:
        self.flat = flat
        self.clip = clip
        self.first = torch.zeros_like(flat.own)
        self.second = torch.zeros_like(flat.own)
        self.count = torch.zeros((), dtype=torch.float32, device=flat.values.device)

    @torch.no_grad()
    def step(self, loss: Tensor, learning_rate: Tensor, sound: Tensor | bool = True) -> Tensor:
        """Update the weights from their gradients, and forget those.

        Args:
            loss: a scalar.
            learning_rate: of this step, a scalar.
            sound: a scalar bool, whether there is nothing else against the step.

        Returns:
            A scalar bool: whether loss and gradients were finite and sound, hence whether anything changed.
        """
        grads = self.flat.gather()[self.flat.cut.mine]
        norm = self.flat.cut.norm(grads)
        finite = torch.isfinite(norm + loss) & sound
        lost = (~finite).float()
        self.count += 1 - lost
        torch._fused_adam_(
            [self.flat.own],
            [grads],
            [self.first],
            [self.second],
            [],
            [self.count],
            lr=learning_rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
            grad_scale=(norm / self.clip).clamp(min=1.0).float(),
            found_inf=lost,
        )
        self.flat.publish()
        return finite

    def tensors(self) -> dict[str, Tensor]:
        """The optimiser's state as named tensors, live."""
        return {"first": self.first, "second": self.second, "count": self.count}

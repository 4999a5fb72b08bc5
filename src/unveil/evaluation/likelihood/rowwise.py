r"""An estimate of log p(x) for each row by itself: neither its place nor its neighbours play a part.

.. math:: \log \frac{1}{K} \sum_k \frac{p(z_k) p(x | z_k)}{q(z_k | x)}, \quad z_k \sim q(z | x)

Noise is a function of (seed, x), so that a row has the same value in any table, to the bit; the price is that rows are
weighed one by one. `weigh` takes many at a time.
"""

from __future__ import annotations

import hashlib
from math import log

import torch
from torch import Tensor

from unveil.data import Batch, Split
from unveil.errors import SettingError
from unveil.evaluation.bound import in_evaluation
from unveil.evaluation.likelihood.drawing import chunks
from unveil.models import Model
from unveil.randomness import generator


@torch.no_grad()
def rowwise(model: Model, split: Split, samples: int, seed: int) -> Tensor:
    """(N,) float64 nats, larger is better: the importance-weighted estimate of log p(x) of each row.

    Its exponential is unbiased for p(x), so it is a lower bound in expectation, which rises with K; at K = 1 it is the ELBO
    of a single draw. Where q(z|x) chooses one z with certainty, or log p(x|z) is no likelihood of x, it is
    -(distortion + rate), a mean over the K draws.

    Args:
        model: what makes draws.
        split: the rows. A random reading is one function of (seed, x) as well.
        samples: K, at least 1.
        seed: of noise and reading.

    Raises:
        SettingError: K is below 1, or q(z|x) has no density, so that there are no nats.
    """
    if samples < 1:
        raise SettingError(f"an estimate cannot have {samples} draws; give at least 1")
    device, found = next(iter(model.parameters())).device, []
    with in_evaluation(model):
        for stored in split.values[:]:
            mean = split.reading.mean(stored)
            row = hashlib.sha256(mean.contiguous().numpy().tobytes()).hexdigest()
            x = split.reading(stored, generator(seed, "reading", row)).unsqueeze(0)
            batch = Batch(x, torch.zeros(1, dtype=torch.int64), 1).to(device)
            found.append(_weighed(model, batch, samples, seed, "row", row))
    return torch.cat(found)


def _weighed(model: Model, batch: Batch, samples: int, *purpose: int | str) -> Tensor:
    """(B,) the estimate of a batch."""
    log_w: list[Tensor] = []
    bound, covers = torch.zeros(len(batch.index), dtype=torch.float64), True
    for count, draw in chunks(model, batch, samples, *purpose):
        if not draw.rated:
            raise SettingError(
                "log p(x) has no estimate, for q(z|x) of this model has no density; take a recipe that has one, or a "
                "scoring of your own"
            )
        covers = covers and draw.covers
        bound -= (draw.distortion + draw.rate).cpu().double() * count / samples
        # a draw's mass is what it counts for within its chunk
        log_w.append((draw.log_w + draw.log_mass).cpu().double().logsumexp(0) + log(count))
    return torch.stack(log_w).logsumexp(0) - log(samples) if covers and model.normalised else bound

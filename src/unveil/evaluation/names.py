"""What figures are called: nats of a cross-entropy never bear the name of nats of x."""

from __future__ import annotations


def cost_name(normalised: bool, rated: bool = True) -> str:
    """The name of distortion + rate, or of the distortion alone.

    Args:
        normalised: whether log p(x|z) is a log-likelihood of x; if not, the distortion is a cross-entropy.
        rated: whether there is a rate; of a posterior without density there is none.
    """
    if rated:
        return "-ELBO" if normalised else "cross-entropy + rate"
    return "distortion" if normalised else "cross-entropy"

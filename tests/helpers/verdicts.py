"""Single laws of `unveil.verify`, and models for them."""

import torch

from unveil.recipes import recipe
from unveil.verify import LAWS, verify

SMALL = {"latent": 3, "hidden": (8,), "channels": (4, 4)}


def composed(name, data, seed=0, **settings):
    """Data as a small version of a recipe sees them, its model and its objective."""
    chosen = recipe(name).given(**{**SMALL, **settings})
    seen = chosen.prepare(data)
    torch.manual_seed(seed)
    return seen, *chosen.compose(seen)


def held(name, model, objective, data=None, **arguments):
    """The check of one law."""
    (law,) = (law for law in LAWS if law.name == name)
    return verify(model, objective, data, laws=[law], **arguments).checks[0]


def loud(module, factor=4.0):
    """Weights so large that x, z and what is made of them differ from example to example."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter.mul_(factor)
    return module

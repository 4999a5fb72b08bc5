"""Recipes: named compositions of parts with defaults that work. A recipe is an argument away from another."""

from unveil.data.tables.table import SUFFIXES
from unveil.errors import unknown
from unveil.recipes import (
    adversarial,
    aggregate,
    bounds,
    chains,
    classic,
    curved,
    discrete,
    flows,
    hierarchies,
    priors,
    regularised,
)
from unveil.recipes.proposal import Proposal, propose
from unveil.recipes.recipe import EVERY, RECIPES, Networks, Recipe, register

_ORDER = [
    module.__name__
    for module in (
        classic,
        bounds,
        regularised,
        aggregate,
        priors,
        flows,
        curved,
        discrete,
        chains,
        adversarial,
        hierarchies,
    )
]  # modules import one another: the order in which recipes were registered says nothing to a reader
FIRST = ("vae", "mnist", "mnist-2d")
"""What a newcomer takes."""
for _name in sorted(
    RECIPES, key=lambda name: (*(name != one for one in FIRST), _ORDER.index(RECIPES[name].function.__module__))
):
    RECIPES[_name] = RECIPES.pop(_name)
__all__ = ["EVERY", "RECIPES", "Networks", "Proposal", "Recipe", "default_recipe", "propose", "recipe", "register"]


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        SettingError: there is none; the message proposes the nearest.
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


def default_recipe(data: str) -> str:
    """The recipe named like the data, 'table' for a file that is one, else 'vae'."""
    if data.lower().endswith(SUFFIXES):
        return "table"
    return data if data in RECIPES else "vae"

"""Recipes: named compositions of parts with defaults that work. A recipe is an argument away from another."""

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
from unveil.recipes.recipe import RECIPES, Networks, Recipe, register

_CATALOGUE = (
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
)  # importing a module of recipes registers them, in this order
__all__ = ["RECIPES", "Networks", "Recipe", "default_recipe", "recipe", "register"]


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        SettingError: there is none; the message proposes the nearest.
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


def default_recipe(data: str) -> str:
    """The recipe named like the data, else 'vae'."""
    return data if data in RECIPES else "vae"

"""Recipes: sources, transforms, gates, an advantage and a filter as one object that every engine can run."""

from rewardsmith._torch import torch  # noqa: F401 - the rooms that work on tensors say so first
from rewardsmith.recipes.recipe import Recipe
from rewardsmith.recipes.terms import Term, column, combine, source, step_source

__all__ = [
    "Recipe",
    "Term",
    "column",
    "combine",
    "source",
    "step_source",
]

"""A recipe: sources, transforms, gates, an advantage and a filter as one object that every engine can run."""

from rewardsmith._torch import torch  # noqa: F401 - the rooms that work on tensors say so first
from rewardsmith.recipes.idle import Idle
from rewardsmith.recipes.recipe import Recipe, Split
from rewardsmith.recipes.terms import Applied, Column, Source, StepSource, Term, column, combine, source, step_source

__all__ = [
    "Applied",
    "Column",
    "Idle",
    "Recipe",
    "Source",
    "Split",
    "StepSource",
    "Term",
    "column",
    "combine",
    "source",
    "step_source",
]

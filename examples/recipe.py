"""make .venv/.installed && .venv/bin/python -m examples.recipe

One recipe, printed and drawn: two reward models that must both be satisfied, a verifier, a format gated by it, a length
penalty for right answers, and what of all that the advantage would cancel.
"""

from examples.support import IMAGES
from rewardsmith._pictures import picture_svg
from rewardsmith.advantages import group_centered, rank_filter
from rewardsmith.recipes import Recipe, column, combine, source
from rewardsmith.rewards import exact_number, think_format
from rewardsmith.transforms import log_sigmoid_shaping, logical_and, overlong_penalty


def helpful(completions, **columns):
    """Stands in for a reward model."""
    return [float(len(text)) for text in completions]


def harmless(completions, **columns):
    """Stands in for another."""
    return [-float(text.count("!")) for text in completions]


right, tidy = source(exact_number, "right"), source(think_format, "tidy")
good = combine(
    logical_and,
    source(helpful).then(log_sigmoid_shaping, ref_rewards=column("ref_helpful")),
    source(harmless).then(log_sigmoid_shaping, ref_rewards=column("ref_harmless")),
)
answer = right + 0.2 * tidy.where(right > 0.5)
recipe = Recipe(
    answer.then(overlong_penalty, correct=right, low=512, high=1024, weight=0.5) + 0.1 * (good + 1.0),
    advantage=group_centered,
    sample_filter=rank_filter,
    name="assistant",
)


def main() -> None:
    """Print the recipe and save its picture."""
    print(recipe)
    path = IMAGES / "recipe.svg"
    path.write_text(picture_svg(recipe.draw()), encoding="utf-8")
    print(f"Drawn: {path}")


if __name__ == "__main__":
    main()

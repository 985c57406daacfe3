"""Is the committed answer the same number, exactly?"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from rewardsmith.data import completion_text
from rewardsmith.rewards.verifiers.final_answer import final_answer
from rewardsmith.rewards.verifiers.numerals import Quantity, read_quantity, same_quantity
from rewardsmith.rewards.verifiers.reasons import key_text, no_key, says_why
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion


@says_why
def exact_number(
    completions: list[Completion], answer: list[Any], *, tolerance: float = 0.0, **columns: Any
) -> list[float | Unscored]:
    """1.0 where the completion commits to the number in `answer`, compared as rationals, else 0.0.

        |x − a| ≤ tolerance        x, a ∈ ℚ

    `final_answer` decides what a completion commits to, `numerals.read_quantity` which spellings are numbers. A unit
    may be left out, and must agree where both name one; 50% is 1/2, never 50.

    Args:
        answer: the keys, plain ("0.5", 12) or a solution that ends in one ("… #### 12", "… \\boxed{12}").
        tolerance: largest absolute difference that still counts as equal.

    Returns:
        One value a row; None where `answer` holds no number, so that the row is unscorable, which is not wrong.

    >>> exact_number(["The answer is 1/2.", r"\\boxed{0.50}", "1 or 1/2", "4"], ["0.5", "50%", "0.5", "n/a"])
    [1.0, 1.0, 0.0, None]
    """
    if not math.isfinite(tolerance) or tolerance < 0:
        raise ValueError(f"exact_number: tolerance is {tolerance}, which is no distance. Pass a finite number ≥ 0.")
    allowed = Fraction(tolerance)
    return [_score(completion_text(c), key_text(a), allowed) for c, a in zip(completions, answer, strict=True)]


def _score(text: str, answer: str | Unscored, allowed: Fraction) -> float | Unscored:
    if isinstance(answer, Unscored):
        return answer
    key = _quantity(answer)
    if key is None:
        return no_key(answer, "holds no number")
    given = _quantity(text)
    return float(given is not None and same_quantity(key, given, tolerance=allowed))


def _quantity(text: str) -> Quantity | None:
    committed = final_answer(text)
    return None if committed is None else read_quantity(committed)

"""The rewards of the guides: one that can be gamed, its repair, one of style, and one of steps."""

import re

from rewardsmith.rewards import exact_number


def contains_answer(completions, answer, **columns):
    """Return 1.0 if the answer occurs anywhere in the completion, else 0.0."""
    return [float(key in text) for text, key in zip(completions, answer, strict=True)]


def committed_answer(completions, answer, **columns):
    """Return 1.0 if the completion commits to one number and it is the answer, else 0.0."""
    return exact_number(completions, answer)


def short(completions, **columns):
    """Return 1.0 if the completion has at most 12 words, else 0.0."""
    return [float(len(text.split()) <= 12) for text in completions]


def right_steps(completions, steps, **columns):
    """Return for each step 0.9 if the sum that it states is right, 0.1 if it is wrong, 0.5 if it states none."""
    return [[step_score(step) for step in solution] for solution in steps]


def step_score(step):
    """Return the score of one step, such as `3+4=7`."""
    stated = re.fullmatch(r"(\d+)\+(\d+)=(\d+)", step.strip())
    if stated is None:
        return 0.5
    a, b, total = map(int, stated.groups())
    return 0.9 if a + b == total else 0.1

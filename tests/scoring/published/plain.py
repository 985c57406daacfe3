"""Plain functions under the usual parameter names, with every kind of result."""

from collections import namedtuple
from enum import Enum
from types import SimpleNamespace

Graded = namedtuple("Graded", ("reward", "completed"))


class Grade(Enum):
    RIGHT = 1.0
    WRONG = 0.0


def contains(text: str, expected: str) -> bool:
    return expected in text


def autoevals(output, expected, input=None):
    """Braintrust's order; the result has a `score`."""
    return SimpleNamespace(name="exact", score=float(output == expected) if input else None)


def bandit(question: str, prediction: str, reference: str):
    return Graded(reward=float(prediction == reference) + len(question) / 100, completed=True)


def tensor(response, gold_answer):
    import torch

    return torch.tensor([float(response == gold_answer)])


def numpy_scalar(pred, gt):
    import numpy as np

    return np.float32(pred == gt)


def enumerated(candidate, golden_answers):
    return Grade.RIGHT if candidate in golden_answers else Grade.WRONG


def nested(generated_text, reference_answer):
    return {"rewards": {"value": float(generated_text == reference_answer)}, "log": "seen"}


async def asynchronous(instruction, model_response):
    return (len(model_response) / len(instruction), "shorter is not better")

"""A reward as verl calls it. The ground truth is a dict, as in the data of TinyZero and Search-R1."""

import re


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    """Return 1.0 if the answer tag holds the target, or one of the accepted targets, and nothing else; else 0.0."""
    target = ground_truth["target"]
    accepted = [target] if isinstance(target, str | int | float) else list(target)
    tag = re.findall(r"<answer>(.*?)</answer>", solution_str, re.DOTALL)
    return float(bool(tag) and tag[-1].strip().casefold() in {str(value).casefold() for value in accepted})

"""A reward as verl calls it. The ground truth is a dict, as in the data of TinyZero and Search-R1."""

import re


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    """Return 1.0 if the only number in the answer tag is the target, else 0.0."""
    tag = re.findall(r"<answer>(.*?)</answer>", solution_str, re.DOTALL)
    numbers = re.findall(r"-?\d+", tag[-1]) if tag else []
    return float(numbers == [str(ground_truth["target"])])

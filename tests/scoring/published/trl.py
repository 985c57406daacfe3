"""Rewards in the signatures of TRL, open-r1, ms-swift and others that TRL's trainers call."""

import re


def _content(completion):
    return completion[0]["content"]


def accuracy_reward(completions: list[list[dict[str, str]]], solution: list[str], **kwargs) -> list[float | None]:
    """open-r1: the last turn's content against the worked solution."""
    return [float(_content(c).endswith(s.rsplit("#### ")[-1])) for c, s in zip(completions, solution, strict=True)]


def format_reward(completions, **kwargs):
    return [1.0 if re.match(r"^<think>.*?</think>", _content(c), re.DOTALL) else 0.0 for c in completions]


def len_reward(completions: list[dict[str, str]], solution: list[str], **kwargs) -> list[float]:
    """Kimi's length reward: relative to the shortest and longest of the batch."""
    sizes = [len(_content(c)) for c in completions]
    low, high = min(sizes), max(sizes)
    if low == high:
        return [0.0] * len(sizes)
    return [0.5 - (size - low) / (high - low) for size in sizes]


def curriculum(completions, trainer_state, **kwargs):
    weight = trainer_state.global_step / trainer_state.max_steps
    return [weight * ("4" in c) for c in completions]


def curriculum_by_keywords(completions, **kwargs):
    state = kwargs["trainer_state"]
    return [state.global_step / state.max_steps * ("4" in c) for c in completions]


def logged(prompts, completions, answer, log_extra, log_metric, **kwargs):
    right = [float(c == a) for c, a in zip(completions, answer, strict=True)]
    log_extra("right", right)
    log_metric("accuracy", sum(right) / len(right))
    return right


def environment_or_text(completions, environments=None, **kwargs):
    if environments is None:
        return [float("4" in c) for c in completions]
    return [environment.reward for environment in environments]


def environment(environments, **kwargs):
    return [environment["reward"] for environment in environments]


def soft_overlong(completion_ids, **kwargs):
    return [min(0.0, (3 - len(ids)) / 2) for ids in completion_ids]


async def judged(prompts, completions, **kwargs):
    return [0.5 if "4" in c else None for c in completions]


class ORM:
    """ms-swift's base class."""

    def __call__(self, completions, solution, **kwargs) -> list[float]:
        return [float(s in c) for c, s in zip(completions, solution, strict=True)]


def get_repetition_penalty_reward(ngram_size: int, max_penalty: float):
    """open-r1: a factory that is called at the command line."""

    def repetition_penalty_reward(completions, **kwargs) -> list[float]:
        found = []
        for words in (_content(c).split() for c in completions):
            grams = [tuple(words[i : i + ngram_size]) for i in range(len(words) - ngram_size + 1)]
            found.append(max_penalty * (1 - len(set(grams)) / len(grams)) if grams else 0.0)
        return found

    return repetition_penalty_reward

"""Reward functions of verifiers' rubrics, in the signatures of its releases up to 0.3."""


def correct(parser, completion, answer, **kwargs) -> float:
    return 1.0 if (parser.parse_answer(completion) or "") == answer else 0.0


def correct_of_messages(completion, answer, state) -> float:
    assert state["completion"] == completion
    return 1.0 if completion[-1]["content"] == answer else 0.0


def correct_of_text(prompt, completion, answer, state) -> float:
    assert state["prompt"] == prompt
    return 1.0 if completion.strip() == answer else 0.0


def hidden_tests(completion, info, **kwargs) -> float:
    return float(completion[-1]["content"].count(info["needle"]))


def by_task(completion, answer, task) -> float:
    return {"exact": 1.0, "default": 0.5}[task] * (completion == answer)


def messages_without_marks(completion, answer, **kwargs) -> float:
    """Its parameters are those of a plain reward; only a call shows that it wants messages."""
    return float(completion[-1].get("content") == answer)


def assistant_turns(parser, completion, **kwargs) -> float:
    return len(parser.get_assistant_messages(completion)) / 2


def rollout_only(state, **kwargs) -> float:
    return float(state["answer"] in str(state["completion"]) and state["turn"] == 1)


async def judged(prompt, completion, answer, state, **kwargs) -> float:
    return 0.25 if answer in completion[-1]["content"] else 0.0


def ranked(completions, answers, states) -> list[float]:
    """A group reward: the share of the group that is no longer."""
    sizes = [len(state["completion"][-1]["content"]) for state in states]
    return [sum(size >= own for size in sizes) / len(sizes) for own in sizes]

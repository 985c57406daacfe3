"""Rewards in the signatures of EasyR1, OpenRLHF, AReaL, RAGEN, slime, miles, rLLM and eval-protocol."""

import re
from dataclasses import dataclass, field
from typing import Any

# --- EasyR1 ---------------------------------------------------------------------------------------------------------


def easyr1_math(reward_inputs: list[dict[str, Any]], format_weight: float = 0.1) -> list[dict[str, float]]:
    if not isinstance(reward_inputs, list):
        raise ValueError("Please use `reward_type=batch`.")
    scores = []
    for given in reward_inputs:
        accuracy = float(f"\\boxed{{{given['ground_truth']}}}" in given["response"])
        formatted = float(given["response"].startswith("<think>"))
        overall = (1 - format_weight) * accuracy + format_weight * formatted
        scores.append({"overall": overall, "format": formatted, "accuracy": accuracy})
    return scores


def easyr1_r1v(reward_input: dict[str, Any], format_weight: float = 0.5) -> dict[str, float]:
    if not isinstance(reward_input, dict):
        raise ValueError("Please use `reward_type=sequential`.")
    found = re.search(r"<answer>(.*?)</answer>", reward_input["response"])
    accuracy = float(found is not None and found[1] == reward_input["ground_truth"])
    return {"overall": (1 - format_weight) * accuracy + format_weight * (found is not None), "accuracy": accuracy}


def easyr1_dapo(
    reward_inputs: list[dict[str, Any]],
    max_response_length: int,
    overlong_buffer_length: int,
    overlong_penalty_factor: float,
) -> list[dict[str, float]]:
    scores = []
    for given in reward_inputs:
        accuracy = 1.0 if given["response"].endswith(given["ground_truth"]) else -1.0
        over = given["response_length"] - (max_response_length - overlong_buffer_length)
        overlong = -min(max(over, 0) / overlong_buffer_length, 1.0)
        scores.append({"overall": accuracy + overlong * overlong_penalty_factor, "accuracy": accuracy})
    return scores


def easyr1_gui(reward_inputs: list[dict[str, Any]]) -> list[dict[str, float]]:
    scores = []
    for given in reward_inputs:
        found = re.search(r"[012]", given.get("response", ""))
        score = float(found is not None and found[0] == given.get("ground_truth", ""))
        scores.append({"overall": score, "accuracy": score})
    return scores


# --- OpenRLHF -------------------------------------------------------------------------------------------------------


def openrlhf_dict(queries, prompts, labels, **kwargs):
    import torch

    scores = [float(q.removeprefix(p).endswith(a)) for q, p, a in zip(queries, prompts, labels, strict=True)]
    rewards = torch.tensor(scores)
    return {"rewards": rewards, "scores": rewards.clamp(0, 1), "extra_logs": {"lengths": torch.ones(len(scores))}}


def openrlhf_tensor(queries, prompts, labels):
    import torch

    return torch.tensor([float(len(q) - len(p)) for q, p in zip(queries, prompts, strict=True)])


# --- AReaL ----------------------------------------------------------------------------------------------------------


def areal_gsm8k(prompt, completions, prompt_ids, completion_ids, answer, **kwargs):
    assert isinstance(completions, str)
    return int(completions.endswith(answer))


def areal_overlong(prompt, completions, prompt_ids, completion_ids, **data):
    return float(data["answer"] in completions) - 0.25 * (len(completion_ids) > len(prompt_ids))


# --- RAGEN ----------------------------------------------------------------------------------------------------------


def ragen_numeric(prediction: str, label: str) -> dict[str, Any]:
    said, right = re.search(r"\d+", prediction), re.search(r"\d+", label)
    return {"is_correct": said is not None and said[0] == right[0], "is_valid": said is not None}


def ragen_choice(prediction: str, label: str) -> dict[str, Any]:
    found = re.search(r"[A-D]", prediction.upper())
    return {"is_correct": found is not None and found[0] == label, "extracted_prediction": found and found[0]}


def ragen_countdown(action, ground_truth):
    used = sorted(map(int, re.findall(r"\d+", action)))
    if used != sorted(ground_truth["numbers"]):
        return {"score": 0.1, "valid": False}
    return {"score": float(sum(used) == ground_truth["target"]), "valid": True}


# --- slime and miles ------------------------------------------------------------------------------------------------


async def slime_rm(args, sample, **kwargs) -> float:
    if args.custom_rm_path is not None or sample.status.value != "completed":
        return -1.0
    return float(sample.response.endswith(sample.label))


async def slime_group_rm(args, samples, **kwargs) -> list[float]:
    longest = max(sample.response_length for sample in samples)
    return [float(sample.response_length == longest) for sample in samples]


def miles_rm(args, sample) -> dict[str, Any]:
    metadata = sample.metadata if isinstance(sample.metadata, dict) else {}
    assert len(sample.tokens) >= sample.response_length
    return {"score": float(sample.label in sample.response) + metadata["bonus"], "pred": sample.response}


# --- rLLM -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class RewardOutput:
    reward: float
    metadata: dict[str, Any] = field(default_factory=dict)
    is_correct: bool | None = None


def rllm_math(task_info: dict[str, Any], action: str) -> RewardOutput:
    truths = task_info["ground_truth"]
    truths = [truths] if isinstance(truths, str) else truths
    right = any(f"\\boxed{{{truth}}}" in action for truth in truths)
    return RewardOutput(reward=float(right), is_correct=right)


class RllmSearch:
    def __call__(self, task_info: dict[str, Any], action: str) -> RewardOutput:
        asked = task_info["question"] is not None and task_info["data_source"] == "nq"
        return RewardOutput(reward=0.5 * (task_info["ground_truth"].lower() in action.lower()) + 0.5 * asked)


@dataclass
class EvalOutput:
    reward: float
    is_correct: bool
    signals: list[Any] = field(default_factory=list)


def _answer_of(episode: Any) -> str:
    """rLLM's order: the artifact, the run's output, the last step's output."""
    if "answer" in episode.artifacts:
        return str(episode.artifacts["answer"])
    run = episode.trajectories[-1] if episode.trajectories else None
    return str(run.output or run.steps[-1].output) if run else ""


class RllmMathEvaluator:
    """An evaluator of earlier releases, whose task is a dict."""

    def evaluate(self, task: dict, episode: Any) -> EvalOutput:
        right = f"\\boxed{{{task.get('ground_truth')}}}" in _answer_of(episode)
        return EvalOutput(reward=float(right), is_correct=right)


def rllm_choice(task: Any, episode: Any) -> EvalOutput:
    """A reward function of later releases, whose task is an object with the row as its metadata."""
    assert task.instruction == task.metadata["question"]
    found = re.search(r"\b([A-D])\b", _answer_of(episode))
    right = found is not None and found[1] == task.metadata.get("ground_truth")
    return EvalOutput(reward=float(right), is_correct=right)


def rllm_steps(task: Any, episode: Any) -> EvalOutput:
    """One that walks the steps, and reads the conversation."""
    last = episode.trajectories[-1].steps[-1]
    right = last.model_response == last.chat_completions[-1]["content"] == task["ground_truth"]
    return EvalOutput(reward=float(right) / len(episode.trajectories), is_correct=right)


def rllm_positional(data_source: str, llm_solution: str, ground_truth: str | list[str], extra_info=None, **kwargs):
    return RewardOutput(reward=float(ground_truth in llm_solution), is_correct=ground_truth in llm_solution)


# --- eval-protocol, once reward-kit ---------------------------------------------------------------------------------


@dataclass
class EvaluateResult:
    score: float
    reason: str = ""


def eval_accuracy(messages: list[Any], ground_truth: str | None = None, **kwargs) -> EvaluateResult:
    last = messages[-1]
    said = last.content if not isinstance(last, dict) else last.get("content")
    return EvaluateResult(score=float(last["role"] == "assistant" and said == ground_truth))


def eval_turns(messages, original_messages=None, **kwargs) -> EvaluateResult:
    return EvaluateResult(score=float(len(messages) - len(original_messages)) * (messages[0].role == "user"))


def areal_helper(completions: str, answer: str) -> float:
    """AReaL's tutorials: the name is TRL's, the annotation says that it is one text."""
    return float(completions.endswith(answer))

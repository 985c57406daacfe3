"""Rewards in the signatures that verl and projects built on it call."""

import ast
import json
import re


def gsm8k(solution_str, ground_truth, method="strict", format_score=0.0, score=1.0):
    """verl, gsm8k: the number after ####, or with `flexible` the last number."""
    pattern = r"#### (-?\d+)" if method == "strict" else r"(-?\d+)"
    found = re.findall(pattern, solution_str)
    if not found:
        return 0
    return score if found[-1] == ground_truth else format_score


def math_verify(model_output: str, ground_truth: str, timeout_score: float = 0) -> bool:
    return f"\\boxed{{{ground_truth}}}" in model_output


def prime_math(model_output: str, ground_truth: str) -> tuple[bool, bool, str]:
    """verl, prime_math: correct, formatted, extracted."""
    found = re.search(r"\\boxed\{(.*)\}", model_output)
    extracted = found[1] if found else model_output
    return extracted == ground_truth, found is not None, extracted


def geo3k(predict_str: str, ground_truth: str, use_boxed: bool = True, format_score: float = 0.1) -> float:
    formatted = re.fullmatch(r"<think>.*</think>.*\\boxed\{.*\}.*", predict_str, re.DOTALL) is not None
    return (1 - format_score) * (f"{{{ground_truth}}}" in predict_str) + format_score * formatted


def default_compute_score(  # noqa: PLR0917 — its published signature
    data_source,
    solution_str,
    ground_truth,
    extra_info=None,
    sandbox_fusion_url=None,
    concurrent_semaphore=None,
    memory_limit_mb=None,
    **kwargs,
):
    """verl's router over data sources."""
    if data_source == "openai/gsm8k":
        return float(gsm8k(solution_str, ground_truth))
    if data_source == "numina_aops_forum":
        return float(prime_math(solution_str, ground_truth)[0])
    raise NotImplementedError(f"no reward for {data_source=}")


def math_dapo(solution_str: str, ground_truth: str, strict_box_verify: bool = False, pause_tokens_index=None):
    found = re.findall(r"(?i)answer\s*:\s*([^\n]+)", solution_str)
    pred = found[-1] if found else "[INVALID]"
    return {"score": 1.0 if pred == ground_truth else -1.0, "acc": pred == ground_truth, "pred": pred}


async def generative(
    data_source, solution_str, ground_truth, extra_info, reward_router_address, reward_model_tokenizer
):
    """verl's generative judge; by rule where there is no router."""
    assert reward_router_address is None
    assert reward_model_tokenizer is None
    return {"score": float(solution_str.endswith(ground_truth)) + extra_info["bonus"]}


def overlong(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    """A custom function that reads its extra_info."""
    return float(ground_truth in solution_str) - 0.5 * (len(solution_str) > (extra_info or {})["limit"])


def math_batch(data_sources, solution_strs, ground_truths, extra_infos, **kwargs):
    assert len(data_sources) == len(extra_infos)
    return [float(text.endswith(truth)) for text, truth in zip(solution_strs, ground_truths, strict=True)]


def relative_batch(data_sources, solution_strs, ground_truths, extra_infos):
    """Each response relative to the batch's mean length."""
    mean = sum(map(len, solution_strs)) / len(solution_strs)
    return [{"score": mean - len(text), "length": len(text)} for text in solution_strs]


def search_r1_em(solution_str, ground_truth, method="strict", format_score=0.0, score=1.0):
    """Search-R1: any of the targets, in answer tags."""
    found = re.findall(r"<answer>(.*?)</answer>", solution_str, re.DOTALL)
    if not found:
        return 0
    targets = ground_truth["target"]
    accepted = [targets] if isinstance(targets, str) else targets
    return score if found[-1].strip().lower() in [target.lower() for target in accepted] else format_score


def search_r1_em_after_prompt(solution_str, ground_truth, method="strict", format_score=0.0, score=1.0):
    """Search-R1 as first released: the text holds the prompt with an example, so the answer is the second or later."""
    found = re.findall(r"<answer>(.*?)</answer>", solution_str, re.DOTALL)
    if len(found) <= 1:
        return 0
    targets = ground_truth["target"]
    accepted = [targets] if isinstance(targets, str) else targets
    return score if found[-1].strip().lower() in [target.lower() for target in accepted] else format_score


def _after_assistant(text):
    if "Assistant:" in text:
        text = text.split("Assistant:", 1)[1]
    elif "<|im_start|>assistant" in text:
        text = text.split("<|im_start|>assistant", 1)[1]
    else:
        return None
    found = re.findall(r"<answer>(.*?)</answer>", text.split("\n")[-1])
    return found[-1].strip() if found else None


def countdown(solution_str, ground_truth, method="strict", format_score=0.1, score=1.0):
    """TinyZero: an equation with the numbers given; the text is prompt and completion."""
    equation = _after_assistant(solution_str)
    if equation is None:
        return 0
    used = sorted(map(int, re.findall(r"\d+", equation)))
    if used != sorted(ground_truth["numbers"]):
        return format_score
    total = sum(ast.literal_eval(term) for term in equation.split("+"))
    return score if total == ground_truth["target"] else format_score


def knights(solution_str, ground_truth, method="strict", format_reward=1, answer_reward=1):
    """Logic-RL: who is a knight; the text is prompt and completion."""
    _, opened, text = solution_str.partition("<|im_start|>assistant")
    if not opened:
        raise TypeError("cannot unpack non-iterable NoneType object")
    expected = dict(re.findall(r"(\w+) is a (knight|knave)", ground_truth["solution_text_format"]))
    formatted = "</think>" in text and text.find("</think>") < text.find("<answer>")
    if not formatted:
        return -format_reward
    said = dict(re.findall(r"(\w+) is a (knight|knave)", text.split("<answer>")[1]))
    return format_reward + (answer_reward if said == expected else -answer_reward)


def rlla(solution_str, ground_truth, step=0):
    """ToolRL: the sum, and its parts format, correctness and length."""
    formatted = float(
        re.fullmatch(r"<think>.*</think>\n<tool_call>\n.*\n</tool_call>", solution_str, re.DOTALL) is not None
    )
    right = 3.0 if ground_truth.split("<tool_call>")[1] in solution_str else -3.0
    return formatted + right, formatted, right, 0


def prime_code(completion, test_cases, continuous=False):
    """PRIME: the tests are a JSON string. This one only compares printed constants; it runs nothing."""
    tests = json.loads(test_cases)
    printed = re.findall(r"print\((\d+)\)", completion)
    passed = [output == said for output, said in zip(tests["outputs"], printed, strict=False)]
    share = sum(passed) / len(tests["outputs"])
    return (share if continuous else share == 1.0), [{"passed": passed}]

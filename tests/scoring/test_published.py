"""Rewards in the signatures that engines publish, scored as they are.

Every form is our own small function in a published signature (`published/`). Its rows are in the project's layout. The
right values are derived by hand from the function's rule, and a second time by calling it as its engine does.
"""

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from rewardsmith.data import Row
from rewardsmith.errors import TargetError
from rewardsmith.scoring import contract_of, load_target, score
from rewardsmith.scoring.arguments import Parser, pseudo_ids
from rewardsmith.scoring.contracts import TABLE

PLACE = Path(__file__).parent / "published"
Rows = list[dict[str, Any]]


class Case(NamedTuple):
    name: str
    contract: str
    rows: Rows
    right: list[float | None]


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def verl(truth: Any, *texts: str, source: str = "toy", prompt: str = "2+2?", **extra: Any) -> Rows:
    """Rows as verl's Parquet files have them."""
    fixed = {"data_source": source, "prompt": chat(prompt), "ability": "math", "extra_info": {"index": 0, **extra}}
    return [{**fixed, "reward_model": {"style": "rule", "ground_truth": truth}, "completion": said(t)} for t in texts]


def plain(answer: Any, *texts: str, key: str = "answer", **columns: Any) -> Rows:
    return [{"prompt": "2+2?", "completion": text, key: answer, **columns} for text in texts]


def turns(answer: str, *texts: str, **columns: Any) -> Rows:
    return [{"prompt": chat("2+2?"), "completion": said(text), "answer": answer, **columns} for text in texts]


TOOL = '<tool_call>\n{"name": "add"}\n</tool_call>'
ROLES = {"solution_text_format": "(1) Ada is a knight\n(2) Bo is a knave", "statements": "x"}
OPEN_R1 = [{"prompt": chat("2+2?"), "completion": said(t), "solution": "So #### 4"} for t in ("It is 4", "It is 5!")]
CASES = [
    Case("trl.py:accuracy_reward", "trl", OPEN_R1, [1.0, 0.0]),
    Case("trl.py:format_reward", "trl", turns("4", "<think>a</think>4", "4"), [1.0, 0.0]),
    Case("trl.py:len_reward", "trl", OPEN_R1, [0.5, -0.5]),  # the shortest and the longest
    Case("trl.py:curriculum", "trl", plain("4", "4", "5"), [0.5, 0.0]),  # halfway
    Case("trl.py:curriculum_by_keywords", "trl", plain("4", "4", "5"), [0.5, 0.0]),
    Case("trl.py:logged", "trl", plain("4", "4", "5"), [1.0, 0.0]),
    Case("trl.py:environment_or_text", "trl", plain("4", "4", "5"), [1.0, 0.0]),
    Case("trl.py:environment", "trl", plain("4", "a", environments={"reward": 0.75}), [0.75]),
    Case("trl.py:soft_overlong", "trl", plain("4", "a", "b", completion_ids=[1, 2, 3, 4]), [-0.5, -0.5]),
    Case("trl.py:judged", "trl", plain("4", "4", "5"), [0.5, None]),
    Case("trl.py:ORM", "trl", plain("4", "4", "5", key="solution"), [1.0, 0.0]),
    # four bigrams of which two differ
    Case(
        "trl.py:get_repetition_penalty_reward(ngram_size=2, max_penalty=-1.0)",
        "trl",
        turns("4", "a b a b a", "a b c"),
        [-0.5, 0.0],
    ),
    Case("verl.py:gsm8k", "verl", verl("4", "so #### 4", "so 4", "#### 5"), [1.0, 0.0, 0.0]),
    Case("verl.py:gsm8k(method='flexible')", "verl", verl("4", "so 4", "so 4 or 5"), [1.0, 0.0]),
    Case("verl.py:gsm8k(method='flexible', format_score=0.2)", "verl", verl("4", "4", "5", "x"), [1.0, 0.2, 0.0]),
    Case("verl.py:math_verify", "plain", verl("4", "\\boxed{4}", "4"), [1.0, 0.0]),
    Case("verl.py:prime_math", "plain", verl("4", "\\boxed{4}", "\\boxed{5}"), [1.0, 0.0]),
    Case(
        "verl.py:geo3k", "plain", verl("4", "<think>a</think>\\boxed{4}", "\\boxed{4}", "<think>a</think>\\boxed{5}"),
        [1.0, 0.9, 0.1],
    ),
    Case("verl.py:default_compute_score", "verl", verl("4", "#### 4", "4", source="openai/gsm8k"), [1.0, 0.0]),
    Case("verl.py:default_compute_score", "verl", verl("4", "\\boxed{4}", source="numina_aops_forum"), [1.0]),
    Case("verl.py:math_dapo", "verl", verl("4", "Answer: 4", "Answer: 5"), [1.0, -1.0]),
    Case("verl.py:generative", "verl", verl("4", "so 4", "so 5", bonus=0.25), [1.25, 0.25]),
    Case("verl.py:overlong", "verl", verl("4", "so 4", "it must be 4", limit=6), [1.0, 0.5]),
    Case("verl.py:math_batch", "verl-batch", verl("4", "so 4", "so 5"), [1.0, 0.0]),
    Case("verl.py:relative_batch", "verl-batch", verl("4", "ab", "abcdef"), [2.0, -2.0]),  # the mean is 4
    Case("verl.py:search_r1_em", "verl",
         verl({"target": ["Paris", "paris, France"]}, "<answer> PARIS </answer>", "Paris"), [1.0, 0.0]),
    Case("verl.py:search_r1_em_after_prompt", "verl",
         verl({"target": "Rome"}, "<answer>x</answer> <answer>rome</answer>", "<answer>Rome</answer>"), [1.0, 0.0]),
    Case("verl.py:countdown", "verl",
         verl({"target": 6, "numbers": [1, 2, 3]}, "<answer>1+2+3</answer>", "<answer>1+2+2</answer>", "6"),
         [1.0, 0.1, 0.0]),
    Case("verl.py:knights", "verl",
         verl(ROLES, "<think>x</think><answer>Ada is a knight, Bo is a knave</answer>",
              "<think>x</think><answer>Ada is a knave, Bo is a knave</answer>", "Ada is a knight"), [2.0, 0.0, -1.0]),
    Case("verl.py:rlla", "verl", verl(f"<think>x</think>\n{TOOL}", f"<think>y</think>\n{TOOL}", "y"), [4.0, -3.0]),
    Case("verl.py:prime_code", "plain",
         verl(json.dumps({"inputs": ["", ""], "outputs": ["1", "2"]}), "print(1)\nprint(2)", "print(1)\nprint(3)"),
         [1.0, 0.0]),
    Case("verl.py:prime_code(continuous=True)", "plain",
         verl(json.dumps({"inputs": ["", ""], "outputs": ["1", "2"]}), "print(1)\nprint(3)"), [0.5]),
    Case("engines.py:easyr1_math", "easyr1-batch", verl("4", "<think>\\boxed{4}", "\\boxed{4}"), [1.0, 0.9]),
    Case("engines.py:easyr1_r1v", "easyr1", verl("4", "<answer>4</answer>", "<answer>5</answer>", "4"),
         [1.0, 0.5, 0.0]),
    # three ids, one more than 4 − 2, of a buffer of 2: half the penalty
    Case("engines.py:easyr1_dapo(max_response_length=4, overlong_buffer_length=2, overlong_penalty_factor=0.5)",
         "easyr1-batch", [{**row, "completion_ids": [7, 8, 9]} for row in verl("4", "so 4", "so 5")], [0.75, -1.25]),
    Case("engines.py:easyr1_gui", "easyr1-batch", plain("1", "choose 1", "0", "none", key="ground_truth"),
         [1.0, 0.0, 0.0]),
    Case("engines.py:openrlhf_dict", "openrlhf", plain("4", "is 4", "is 5", key="label"), [1.0, 0.0]),
    Case("engines.py:openrlhf_tensor", "openrlhf", plain("4", "abc", key="label"), [3.0]),
    Case("engines.py:areal_gsm8k", "areal", turns("4", "so 4", "so 5"), [1.0, 0.0]),
    Case("engines.py:areal_helper", "areal", turns("4", "so 4", "so 5"), [1.0, 0.0]),
    Case("engines.py:areal_overlong", "areal", turns("4", "4", prompt_ids=[1, 2], completion_ids=[1, 2, 3]), [0.75]),
    Case("engines.py:ragen_numeric", "ragen", plain("4 apples", "it is 4", "five", key="label"), [1.0, 0.0]),
    Case("engines.py:ragen_choice", "ragen", plain("B", "b", "D", key="label"), [1.0, 0.0]),
    Case("engines.py:ragen_countdown", "ragen", verl({"target": 6, "numbers": [1, 2, 3]}, "1+2+3", "6"), [1.0, 0.1]),
    Case("engines.py:slime_rm", "slime", plain("4", "so 4", "so 5", key="label"), [1.0, 0.0]),
    Case("engines.py:slime_group_rm", "slime-batch", plain("4", "a", "b c", key="label"), [0.0, 1.0]),
    Case("engines.py:miles_rm", "slime", plain("4", "so 4", "so 5", key="label", metadata={"bonus": 0.5}), [1.5, 0.5]),
    Case("engines.py:rllm_math", "rllm", verl(["4", "four"], "\\boxed{four}", "4"), [1.0, 0.0]),
    Case("engines.py:RllmSearch", "rllm", verl("Paris", "paris", "Rome", source="nq"), [1.0, 0.5]),
    Case("engines.py:RllmMathEvaluator", "rllm-episode", verl("4", "\\boxed{4}", "4"), [1.0, 0.0]),
    Case("engines.py:rllm_choice", "rllm-episode", verl("B", "It is B.", "C"), [1.0, 0.0]),
    Case("engines.py:rllm_steps", "rllm-episode", verl("4", "4", "5"), [1.0, 0.0]),
    Case("engines.py:rllm_positional", "plain", verl("4", "so 4", "so 5"), [1.0, 0.0]),
    Case("engines.py:eval_accuracy", "eval-protocol", turns("4", "4", "5"), [1.0, 0.0]),
    Case("engines.py:eval_turns", "eval-protocol", turns("4", "x"), [1.0]),
    Case("verifiers.py:correct", "verifiers", turns("4", "4", "5"), [1.0, 0.0]),
    Case("verifiers.py:correct", "verifiers", plain("4", "4", "5"), [1.0, 0.0]),
    Case("verifiers.py:correct_of_messages", "verifiers", turns("4", "4", "5"), [1.0, 0.0]),
    Case("verifiers.py:correct_of_messages", "verifiers", plain("4", "4", "5"), [1.0, 0.0]),
    Case("verifiers.py:correct_of_text", "verifiers", plain("4", " 4", "5"), [1.0, 0.0]),
    Case("verifiers.py:correct_of_text", "verifiers", turns("4", " 4", "5"), [1.0, 0.0]),
    Case("verifiers.py:hidden_tests", "plain", turns("4", "a b a", "b", info={"needle": "a"}), [2.0, 0.0]),
    Case("verifiers.py:by_task", "plain", plain("4", "4", "5", task="exact"), [1.0, 0.0]),
    Case("verifiers.py:by_task", "plain", turns("4", "4", "5"), [0.5, 0.0]),
    Case("verifiers.py:messages_without_marks", "plain", turns("4", "4", "5"), [1.0, 0.0]),
    Case("verifiers.py:messages_without_marks", "plain", plain("4", "4", "5"), [1.0, 0.0]),
    Case("verifiers.py:assistant_turns", "verifiers", turns("4", "x"), [0.5]),
    Case("verifiers.py:rollout_only", "verifiers", turns("4", "4", "5"), [1.0, 0.0]),
    Case("verifiers.py:judged", "verifiers", turns("4", "so 4", "5"), [0.25, 0.0]),
    Case("verifiers.py:ranked", "verifiers-group", turns("4", "a", "bcd"), [1.0, 0.5]),
    Case("plain.py:contains", "plain", plain("4", "so 4", "5"), [1.0, 0.0]),
    Case("plain.py:autoevals", "plain", plain("4", "4", "5", key="expected"), [1.0, 0.0]),
    Case("plain.py:bandit", "plain", plain("4", "4", "5", key="reference"), [1.04, 0.04]),  # 4 characters of prompt
    Case("plain.py:tensor", "plain", plain("4", "4", "5", key="solution"), [1.0, 0.0]),
    Case("plain.py:numpy_scalar", "plain", plain("4", "4", "5"), [1.0, 0.0]),
    Case("plain.py:enumerated", "plain", plain(["4", "four"], "four", "5", key="golden_answers"), [1.0, 0.0]),
    Case("plain.py:nested", "plain", plain("4", "4", "5", key="reference_answer"), [1.0, 0.0]),
    Case("plain.py:asynchronous", "plain", plain("4", "4", "44"), [0.25, 0.5]),
]  # fmt: skip


# --- how the engines call -------------------------------------------------------------------------------------------


def text_of(messages: Any) -> str:
    return messages if isinstance(messages, str) else messages[-1]["content"]


def named(function: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """Call with what the function accepts, as TRL's and verifiers' trainers do."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return function(**given)
    return function(**{p.name: given[p.name] for p in parameters if p.name in given})


def state_of(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "turn": 1, "info": row.get("info", {}), "task": row.get("task", "default")}


def truth_of(row: dict[str, Any]) -> Any:
    names = ("ground_truth", "label", "solution", "answer")
    return row["reward_model"]["ground_truth"] if "reward_model" in row else next(row[n] for n in names if n in row)


def by_verl(function: Callable[..., Any], rows: Rows) -> Any:
    accepted, found = inspect.signature(function).parameters, []
    for row in rows:
        text = text_of(row["completion"])
        if getattr(function, "__name__", "") in ("countdown", "knights"):  # early verl decodes both together
            text = f"<|im_start|>user\n{text_of(row['prompt'])}<|im_end|>\n<|im_start|>assistant\n{text}"
        given = {"data_source": row["data_source"], "solution_str": text, "extra_info": row["extra_info"]}
        given |= dict.fromkeys(("ground_truth",), truth_of(row))
        given |= {name: None for name in accepted if name.startswith("reward_")}
        found.append(function(**{name: value for name, value in given.items() if name in accepted}))
    return found


ENGINES: dict[str, Callable[[Callable[..., Any], Rows], Any]] = {
    "trl": lambda f, rows: named(
        f,
        {
            **{name: [row[name] for row in rows] for name in rows[0] if name not in ("prompt", "completion")},
            "prompts": [row["prompt"] for row in rows],
            "completions": [row["completion"] for row in rows],
            "trainer_state": SimpleNamespace(global_step=500, max_steps=1000),
            "log_extra": lambda column, values: None,
            "log_metric": lambda name, value: None,
        },
    ),
    "verl": by_verl,
    "verl-batch": lambda f, rows: f(
        data_sources=[row["data_source"] for row in rows],
        solution_strs=[text_of(row["completion"]) for row in rows],
        ground_truths=[truth_of(row) for row in rows],
        extra_infos=[row["extra_info"] for row in rows],
    ),
    "easyr1": lambda f, rows: [f(given) for given in easyr1_inputs(rows)],
    "easyr1-batch": lambda f, rows: f(easyr1_inputs(rows)),
    "openrlhf": lambda f, rows: [
        f([row["prompt"] + row["completion"]], [row["prompt"]], [row["label"]]) for row in rows
    ],
    "areal": lambda f, rows: [
        named(f, {"prompt_ids": [1], "completion_ids": [1], **row, "prompt": text_of(row["prompt"]),
                  "completions": text_of(row["completion"])})
        for row in rows
    ],
    "ragen": lambda f, rows: [f(text_of(row["completion"]), truth_of(row)) for row in rows],
    "slime": lambda f, rows: [f(SimpleNamespace(custom_rm_path=None), slime_sample(row)) for row in rows],
    "slime-batch": lambda f, rows: f(SimpleNamespace(custom_rm_path=None), [slime_sample(row) for row in rows]),
    "rllm": lambda f, rows: [
        f({**row, "question": text_of(row["prompt"]), "ground_truth": truth_of(row)}, text_of(row["completion"]))
        for row in rows
    ],
    "rllm-episode": lambda f, rows: [getattr(f, "evaluate", f)(*rllm_episode(row)) for row in rows],
    "eval-protocol": lambda f, rows: [
        named(f, {"messages": [*map(Turn, row["prompt"] + row["completion"])], "original_messages": row["prompt"],
                  "ground_truth": truth_of(row)})
        for row in rows
    ],
    "verifiers": lambda f, rows: [named(f, {**state_of(r), "state": state_of(r), "parser": Parser()}) for r in rows],
    "verifiers-group": lambda f, rows: named(
        f, {f"{name}s": [row[name] for row in rows] for name in rows[0]} | {"states": [state_of(row) for row in rows]}
    ),
}  # fmt: skip


class Turn(dict[str, Any]):
    """A message as eval-protocol's, with attributes."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


def easyr1_inputs(rows: Rows) -> Rows:
    return [
        {
            "response": text_of(row["completion"]),
            "response_length": len(row.get("completion_ids") or pseudo_ids(text_of(row["completion"]))),
            "ground_truth": truth_of(row),
        }
        for row in rows
    ]


class Task(dict[str, Any]):
    """A task of either release of rLLM."""

    metadata = property(dict)
    instruction = property(lambda self: self["question"])


def rllm_episode(row: dict[str, Any]) -> tuple[Task, SimpleNamespace]:
    text = text_of(row["completion"])
    step = SimpleNamespace(output=text, model_response=text, chat_completions=row["prompt"] + row["completion"])
    run = SimpleNamespace(steps=[step], output=text)
    task = Task(row, question=text_of(row["prompt"]), ground_truth=truth_of(row))
    return task, SimpleNamespace(artifacts={"answer": text}, trajectories=[run])


def slime_sample(row: dict[str, Any]) -> SimpleNamespace:
    ids = row.get("completion_ids") or pseudo_ids(row["completion"])
    return SimpleNamespace(
        prompt=row["prompt"], response=row["completion"], label=row["label"], metadata=row.get("metadata", {}),
        tokens=[1, *ids], response_length=len(ids), status=SimpleNamespace(value="completed"),
    )  # fmt: skip


def number_in(result: Any) -> float | None:
    """Return the number that an engine takes from one result."""
    for name in ("rewards", "score", "reward", "overall", "is_correct"):
        if isinstance(result, dict) and name in result:
            return number_in(result[name])
        if not isinstance(result, dict) and hasattr(result, name):
            return number_in(getattr(result, name))
    if result is None:
        return None
    return float(result[0]) if isinstance(result, tuple | list) else float(result)


def test_at_least_forty_forms_of_every_contract_are_read_as_they_are() -> None:
    assert len({case.name for case in CASES}) >= 60
    assert {case.contract for case in CASES} == TABLE.keys() - {"reasoning-gym"}  # whose rewards are its own


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name.split('(')[0]}-{case.contract}")
def test_a_published_form_is_scored_as_it_is(case: Case) -> None:
    target = load_target(f"{PLACE / case.name.partition(':')[0]}:{case.name.partition(':')[2]}")
    assert target.contract == case.contract
    found = score(target, case.rows, workers=0)
    assert [result.reward for result in found] == pytest.approx(case.right), found


def native(case: Case) -> bool:
    """Whether the rows are in the form that the engine itself passes, and the function in the file as it is called."""
    kinds = {"correct_of_messages": list, "messages_without_marks": list, "correct_of_text": str}
    kind = kinds.get(case.name.partition(":")[2])
    return case.contract in ENGINES and (kind is None or isinstance(case.rows[0]["completion"], kind))


@pytest.mark.parametrize(
    "case", [case for case in CASES if native(case)], ids=lambda case: f"{case.name.split('(')[0]}-{case.contract}"
)
def test_the_right_values_are_those_of_a_call_by_the_engine(case: Case) -> None:
    target = load_target(f"{PLACE / case.name.partition(':')[0]}:{case.name.partition(':')[2]}")
    reward: Any = target.reward
    result = ENGINES[case.contract](getattr(reward, "function", reward), case.rows)

    async def awaited() -> Any:
        single = await result if inspect.isawaitable(result) else result
        return [await one if inspect.isawaitable(one) else one for one in single]

    assert [number_in(one) for one in asyncio.run(awaited())] == pytest.approx(case.right)


# --- what the table decides -----------------------------------------------------------------------------------------


def test_a_batch_contract_is_called_once_per_batch_and_a_row_contract_once_per_row() -> None:
    sizes: list[int] = []

    def batch(solution_strs: list[str], ground_truths: list[str]) -> list[float]:
        sizes.append(len(solution_strs))
        return [1.0] * len(ground_truths)

    def single(solution_str: str, ground_truth: str) -> float:
        sizes.append(1)
        return 1 / (len(solution_str) - 1)  # one row fails

    rows = verl("4", "a", "bb", "ccc")
    assert [result.reward for result in score(batch, rows, workers=0)] == [1.0] * 3
    assert sizes == [3]
    assert [result.reward for result in score(single, rows, workers=0)] == [None, 1.0, 0.5]
    assert sizes == [3, 1, 1, 1]


@pytest.mark.slow
def test_a_bound_option_keeps_its_value_and_reaches_a_worker() -> None:
    target = load_target(f"{PLACE / 'verl.py'}:default_compute_score(data_source='openai/gsm8k')")
    assert [result.reward for result in score(target, verl("4", "#### 4"), workers=1)] == [1.0]
    batch = partial(lambda solution_strs, ground_truths, scale: [scale] * len(ground_truths), scale=0.5)
    assert [result.reward for result in score(batch, verl("4", "a", "b"), workers=1)] == [0.5, 0.5]


def test_a_name_with_options_is_a_factory_where_its_call_gives_a_reward(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(
        "def make(**options):\n    return lambda completions, **columns: [options['x']] * len(completions)\n"
        "def any_default(completions=('a',), x=0.5, **columns):\n    return [x] * len(completions)\n"
        "def lacking(foo, ground_truth, x=1):\n    return foo\n"
    )
    for name in ("make", "any_default"):
        target = load_target(f"{tmp_path}/made.py:{name}(x=0.25)")
        assert [result.reward for result in score(target, plain("4", "a"), workers=0)] == [0.25]
    with pytest.raises(TargetError, match=r"nearest is verl f\(.*, which does not pass `foo`\. Rename"):
        load_target(f"{tmp_path}/made.py:lacking(x=2)")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda scores, ground_truth, extra_info: 0.0,
            r"nearest is verl f\(data.*, which does not pass `scores`\. Ren",
        ),
        (lambda prompt, answer: 0.0, r"nearest is \w+ f\(.*, which passes a completion, but no parameter takes"),
        (lambda bar, baz: bar + baz, r"which is no reward signature we know: TRL f\(completions, \*\*columns\), plain"),
        (
            lambda reward_inputs, buffer: [buffer] * len(reward_inputs),
            r"requires `buffer`, which EasyR1 f\(reward_inputs\) does not pass\.",
        ),
        (lambda completions, environments: [], r"`environments`, but no column has that name .*command line as `mod"),
    ],
)
def test_what_cannot_be_filled_is_named_with_the_nearest_contract(function: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        score(function, verl("4", "a"), workers=0)


def test_a_reward_that_only_mentions_messages_gets_text() -> None:
    def judge(completion: str, answer: str) -> float:
        request = [{"role": "user", "content": completion}]
        return float(request[0]["content"].endswith(answer))

    def of_json(completion: str) -> float:
        return float(json.loads(completion)["x"])  # of a JSON string: "string indices must be integers"

    for rows in (plain("4", "so 4", "5"), turns("4", "so 4", "5")):
        assert [result.reward for result in score(judge, rows, workers=0)] == [1.0, 0.0]
    found = score(of_json, plain("4", '"a"', '{"x": 2}', '"b"'), workers=0)
    assert [result.reward for result in found] == [None, 2.0, None]


@pytest.mark.parametrize(
    ("function", "contract"),
    [
        (lambda solution_str, answer: float(solution_str == answer), "plain"),  # verl passes no `answer`
        (lambda prediction, label, question: float(prediction == label) * len(question) / 4, "plain"),
        (lambda response, messages: float(response in messages), "plain"),  # `messages` is a column
        (lambda response, state: float(response in state), "plain"),
        (lambda completions, states: [float(c in s) for c, s in zip(completions, states, strict=True)], "trl"),
        (lambda completions, messages, **columns: [float(c in m) for c, m in zip(completions, messages)], "trl"),  # noqa: B905
    ],
)
def test_a_contract_that_cannot_fill_the_parameters_leaves_them_to_one_that_can(function: Any, contract: str) -> None:
    [found] = score(function, plain("4", "4", label="4", messages="4", state="4", states="4"), workers=0)
    assert (contract_of(function), found.reward) == (contract, 1.0)


def test_a_ground_truth_reaches_plain_names_as_the_rows_have_it_without_an_answer_column() -> None:
    def graded(predict_str: str, ground_truth: dict[str, Any]) -> float:
        return float(predict_str in ground_truth["target"])

    rows = [Row("2+2?", "4", {"reward_model": {"ground_truth": {"target": ["4"]}}})]
    assert [result.reward for result in score(graded, rows, workers=0)] == [1.0]
    with_answer = [Row("2+2?", "4", {**rows[0].columns, "answer": "5"})]
    assert [result.reward for result in score(graded, with_answer, workers=0)] == [1.0]
    key_only = [Row("2+2?", "4", {"reward_model": {"ground_truth": "4"}})]
    for reward in (
        lambda args, sample: float(sample.response == sample.label),
        lambda parser, completion, answer: float(completion == answer),
        lambda completion, state: float(completion == state["answer"]),
        lambda prediction, label: {"is_correct": prediction == label},
        lambda queries, prompts, labels: [float(queries == [prompts[0] + labels[0]])],
    ):
        assert [result.reward for result in score(reward, key_only, workers=0)] == [1.0]


def test_several_numbers_or_a_dict_without_a_score_are_no_reward() -> None:
    for result in ([0.25, 0.75], {"acc": 1.0}, (), "0.5"):
        [found] = score(lambda response, result=result: result, plain("4", "a"), workers=0)
        assert (found.reward, found.reason) == (None, "type")

import pickle

import pytest

from rewardsmith.data import Row
from rewardsmith.errors import TargetError
from rewardsmith.scoring import Scorer, SourceSet, as_target, load_reward, load_target, rewards_of, score, with_steps
from rewardsmith.scoring.loading import target_rows
from rewardsmith.scoring.process import process_target
from rewardsmith.scoring.score_rows import resolve_form

FILE = """
import os

LIMIT = 3
crashed = None

def exact(completions, answer):
    return [float(c == a) for c, a in zip(completions, answer)]

def capped(limit=10, *, name="x"):
    def reward(completions, **columns):
        return [float(min(len(c), limit)) for c in completions]
    return reward

class Fixed:
    def __init__(self, value=0.5):
        self.value = value
    def __call__(self, prompt, completion):
        return self.value

class Needy:
    def __init__(self, value):
        pass

def graded(prompts, completions, steps):
    return [[float(len(step)) for step in chain] for chain in steps]

SOURCES = {"exact": exact, "capped 2": capped(2)}

class Weighted:
    sources, weights, step_sources = SOURCES, [1.0, 0.5], {"graded": graded}
    transform = None

WEIGHTED = Weighted()
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my_rewards.py"
    path.write_text(FILE)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "contract", "rewards"),
    [
        ("exact", "trl", [1.0, 0.0]),
        ("capped(limit=2)", "trl", [1.0, 2.0]),
        ("capped(3, name='a:b(c)')", "trl", [1.0, 3.0]),
        ("Fixed", "plain", [0.5, 0.5]),
        ("Fixed(0.25)", "plain", [0.25, 0.25]),
    ],
)
def test_functions_factories_and_classes_load_from_a_file_and_reach_a_worker(file, name, contract, rewards):
    target = load_target(f"{file}:{name}")
    assert (target.name, target.contract, target.rows) == (f"{file}:{name}", contract, None)
    rows = [Row("p", "4", {"answer": "4"}), Row("p", "55555", {"answer": "4"})]
    assert rewards_of(score(target, rows, workers=1)) == rewards
    assert pickle.loads(pickle.dumps(target)).name.endswith(name)


def test_a_module_in_the_current_folder_is_found(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert load_target("my_rewards:exact").contract == "trl"
    assert load_target("my_rewards.py:exact").contract == "trl"


@pytest.mark.slow
def test_a_file_that_imports_its_neighbors_relatively_loads_as_a_module_of_its_package(tmp_path):
    inner = tmp_path / "graders_of_mine" / "rewards"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        (folder / "__init__.py").touch()
    (inner.parent / "extract.py").write_text("def last(text):\n    return text.split()[-1]\n")
    (inner / "exact.py").write_text(
        "from ..extract import last\ndef compute_score(solution_str, ground_truth):\n"
        "    return float(last(solution_str) == ground_truth)\n"
    )
    target = load_target(f"{inner / 'exact.py'}:compute_score")
    rows = [Row("p", text, {"answer": "4"}) for text in ("so 4", "so 5")]
    assert rewards_of(score(target, rows, workers=1)) == [1.0, 0.0]
    other = tmp_path / "elsewhere" / "graders_of_mine"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    (other / "exact.py").write_text("from . import nothing\n")
    with pytest.raises(
        TargetError, match=r"cannot be imported \(ModuleNotFoundError: No module named 'graders_of_mine.e"
    ):
        load_target(f"{other / 'exact.py'}:compute_score")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("exact", r"'exact' is not a reward's name\. Write it as `package\.module:name`"),
        ("no_such_module_here:exact", r"cannot be imported \(ModuleNotFoundError.*Check the spelling"),
        ("missing.py:exact", r"cannot be imported \(FileNotFoundError: there is no file .*missing\.py\)"),
        ("{file}:exakt", r"there is no 'exakt' in .*\. Did you mean exact\?"),
        ("{file}:qqqqqq", r"there is no 'qqqqqq' in .*\. Check the spelling"),
        ("{file}:capped(limit=os)", r"the arguments \(limit=os\) of .* are not literals .*Use numbers"),
        ("{file}:capped(**1)", r"are not literals"),
        ("{file}:Needy", r"Needy\(\) of .* raised TypeError: .*Give its arguments as literals"),
        ("{file}:SOURCES", r"names 2 sources \(exact, capped 2\), not one reward\. Name one of them, as `.*\[exact\]`"),
        ("{file}:SOURCES[exakt]", r"there is no source 'exakt' \(it has exact, capped 2\)\. Check the spelling"),
        ("{file}:exact[exact]", r"there is no source 'exact' \(it has none\)"),
        ("{file}:LIMIT", r"^as_target: 3 is a int, not a reward\. Pass a function"),
        ("{file}:capped", r"takes \(limit, name\), which is no reward signature .*if it is a factory, call it"),
        ("reasoning-gym:leg_countin", r"has no data set 'leg_countin'\. Did you mean leg_counting"),
        ("reasoning-gym:zzzzzz", r"has no data set 'zzzzzz'\. It has "),
        ("reasoning-gym:leg_counting(3)", r"has options without names"),
        ("reasoning-gym:leg_counting(nonsense=3)", r"reasoning-gym refuses .*TypeError.*Change its options"),
    ],
)
def test_what_cannot_be_loaded_says_why(file, spec, message):
    with pytest.raises(TargetError, match=message):
        load_target(spec.format(file=file))


def test_a_class_is_not_a_reward_until_it_is_instantiated():
    with pytest.raises(TargetError, match=r"an instance, not its class"):
        as_target(dict)


@pytest.mark.slow
def test_reasoning_gym_brings_rows_and_pays_its_own_answer_in_full():
    target = load_target("reasoning-gym:leg_counting(max_animals=3)")
    rows = target_rows(target, 5, 7)
    assert [row.columns["entry"]["answer"] for row in rows] == [row.answer for row in rows]
    assert rows == target_rows(target, 5, 7) != target_rows(target, 5, 8)
    answered = [row.with_completion(row.answer) for row in rows] + [rows[0].with_completion("no number")]
    assert rewards_of(score(target, answered, workers=1))[:5] == [1.0] * 5
    assert rewards_of(score(target, answered, workers=0))[5] < 1.0


def test_a_reward_without_rows_says_so(file):
    with pytest.raises(TargetError, match=r"^target_rows: .*exact has no rows of its own\. Pass rows"):
        target_rows(load_target(f"{file}:exact"), 3, 0)


@pytest.mark.slow
def test_rewards_of_trl_get_the_form_and_the_columns_they_need():
    rows = [Row("p", r"\boxed{4}", {"answer": "4"}), Row("p", r"\boxed{5}", {"answer": "4"})]
    with Scorer(load_target("trl.rewards:accuracy_reward"), workers=1) as scorer:
        formed = resolve_form(scorer, rows)
        assert formed.form == "conversational"
        assert formed.detail == "the rows' own form fails: TypeError: string indices must be integers, not 'str'"
        assert rewards_of(scorer.score(formed.rows)) == [1.0, 0.0]


@pytest.mark.slow
def test_the_format_reward_of_trl_reads_messages_and_the_length_reward_ids():
    with Scorer(load_target("trl.rewards:think_format_reward"), workers=0) as scorer:
        rows = resolve_form(scorer, [Row("p", "<think>x</think>4"), Row("p", "4")]).rows
        assert rewards_of(scorer.score(rows)) == [1.0, 0.0]
    spec = "trl.rewards:get_soft_overlong_punishment(max_completion_len=10, soft_punish_cache=5)"
    with Scorer(load_target(spec), workers=1) as scorer:
        formed = resolve_form(scorer, [Row("p", "a a a a a a a"), Row("p", "a")])  # 7 ids: (10 − 5 − 7) / 5
        assert (formed.form, rewards_of(scorer.score(formed.rows))) == ("as given", [-0.4, 0.0])


def test_a_text_reward_gets_text_from_conversational_rows():
    rows = [Row("p", "ab").conversational(), Row("q").conversational()]
    with Scorer(lambda completions: [float(len(c.strip())) for c in completions], workers=0) as scorer:
        formed = resolve_form(scorer, rows)
        assert formed.form == "standard"
        assert formed.rows == [Row("p", "ab"), Row("q")]


def test_a_reward_that_fails_in_every_form_keeps_the_rows_and_says_so():
    rows = [Row("p", "a")]
    with Scorer(lambda completions: 1 / 0, workers=0) as scorer:
        formed = resolve_form(scorer, rows)
    assert formed == (rows, "as given", "neither form works: ZeroDivisionError: division by zero")


@pytest.mark.slow
def test_a_mapping_is_a_set_of_sources_each_of_which_loads_by_its_own_name(file):
    sources = load_reward(f"{file}:SOURCES")
    assert isinstance(sources, SourceSet)
    assert dict(sources.weights) == {"exact": 1.0, "capped 2": 1.0}
    rows = [Row("p", "4", {"answer": "4"}), Row("p", "55555", {"answer": "4"})]
    assert {name: rewards_of(score(target, rows, workers=1)) for name, target in sources.targets.items()} == {
        "exact": [1.0, 0.0],
        "capped 2": [1.0, 2.0],
    }
    one = load_target(f"{file}:SOURCES[capped 2]")
    assert one.name == f"{file}:SOURCES[capped 2]"
    assert rewards_of(score(one, rows, workers=1)) == [1.0, 2.0]


@pytest.mark.slow
def test_an_object_brings_its_weights_and_the_names_of_its_process_rewards(file):
    assert dict(load_reward(f"{file}:WEIGHTED").weights) == {"exact": 1.0, "capped 2": 0.5}
    graded = process_target(load_target(f"{file}:WEIGHTED[graded]"))
    row = with_steps(Row("p"), ["a", "bcd"])
    assert rewards_of(score(graded, [row], workers=1)) == [3.0]


def test_a_process_reward_reaches_a_worker_as_one(file):
    target = process_target(load_target(f"{file}:graded"))
    again = pickle.loads(pickle.dumps(target))
    assert (again.contract, again.name) == ("process", target.name)
    assert process_target(again) is again

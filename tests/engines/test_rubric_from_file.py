"""One rubric in a YAML file, from its first score to an export: it abstains, is audited, trains, and is a source."""

import asyncio
import json
import re

import pytest
import torch
import trl

import rewardsmith as rs
from rewardsmith.data import Row
from rewardsmith.recipes import source
from rewardsmith.rewards import Rubric
from rewardsmith.scoring import to_openrlhf, to_verl
from rewardsmith.worlds import ArithmeticLM
from tests.engines.helpers import logged, make

FILE = """
name: helpful
criteria:
  - {name: number, question: "Does it give a number?", weight: 3}
  - {name: padded, question: "Is it padded?", weight: -1}
  - {name: clean, question: "Is it free of insults?", weight: 0, gate: true}
"""


async def backend(messages):
    """Read a response as a model would: a number, more than 12 characters, an insult; a question leaves it unsure."""
    user = messages[1]["content"]
    response = re.search(r"<(response-\w+)>\n(.*)\n</\1>", user, re.DOTALL)[2]
    number = "yes" if re.search(r"\d", response) else "cannot tell" if "?" in response else "no"
    answers = {"number": number, "padded": "yes" if len(response) > 12 else "no"}
    answers["clean"] = "no" if "fool" in response else "yes"
    return json.dumps(
        {"answers": [{"criterion": k, "reason": "It reads so.", "answer": v} for k, v in answers.items()]}
    )


@pytest.fixture
def rubric(tmp_path):
    path = tmp_path / "helpful.yaml"
    path.write_text(FILE, encoding="utf-8")
    return Rubric.read(path, backend=backend)


TEXTS = {"4": 1.0, "It is 4, as everybody knows.": 0.75, "x": 0.25, "4, you fool": 0.0, "Which?": None}
ROWS = [{"prompt": f"{a}+{b}=", "completion": str(a + b), "answer": str(a + b)} for a in range(6) for b in range(6)]


def test_it_scores_abstains_and_exports(rubric):
    scored = rs.score(rubric, [{"prompt": "2+2?", "completion": text, "answer": "4"} for text in TEXTS], workers=0)
    assert [one.reward for one in scored] == list(TEXTS.values())
    assert scored[-1].detail == "the judge cannot tell for 75% of the weight"
    assert [to_verl(rubric, unscored=-1.0)("", text, "4") for text in TEXTS] == [
        {"score": -1.0 if score is None else score, "scored": float(score is not None)} for score in TEXTS.values()
    ]
    exported = to_openrlhf(rubric, unscored=-1.0)([f"2+2?{text}" for text in TEXTS], ["2+2?"] * 5, ["4"] * 5)
    assert exported["rewards"].tolist() == [-1.0 if score is None else score for score in TEXTS.values()]
    with pytest.raises(ValueError, match=r"left 'Which\?' unscored .*the judge cannot tell"):
        to_verl(rubric, unscored=None)("", "Which?", "4")


def test_it_is_one_source_of_a_recipe_that_exports(rubric):
    recipe = rs.Recipe(0.5 * source(rubric) + source(rs.exact_number, "right"))
    assert "0.5·helpful + right" in str(recipe)
    assert recipe(prompts=["2+2?"] * 3, completions=["4", "5", "?"], answer=["4"] * 3) == [1.5, 0.5, 0.0]
    assert recipe.to_verl(unscored=0.0)("", "5", "4") == {"score": 0.5, "scored": 1.0}
    exported = recipe.to_openrlhf(unscored=0.0)(["2+2?x"], ["2+2?"], ["4"])
    assert exported["rewards"].tolist() == [0.125]


@pytest.mark.slow
def test_its_audit_finds_that_right_and_wrong_answers_score_the_same(rubric):
    report = rs.audit(rubric, [Row(r["prompt"], r["completion"], {"answer": r["answer"]}) for r in ROWS], workers=0)
    assert any("right and wrong, all score 1." in finding.message for finding in report.findings)
    assert asyncio.run(rubric(prompts=["2+2="], completions=["5"])) == [1.0], (
        "it asks for a number, not for the right one"
    )


@pytest.mark.slow
def test_it_trains_in_trl(rubric, tmp_path):
    world = ArithmeticLM.build(tmp_path / "base", generator=torch.Generator().manual_seed(0), steps=30)
    trainer = make(trl.GRPOTrainer, world, [rubric], steps=2)
    trainer.train()
    rewards = logged(trainer, "rewards/helpful/mean")
    assert len(rewards) == 2
    assert all(0 <= reward <= 1 for reward in rewards)
    assert logged(trainer, "helpful/number")

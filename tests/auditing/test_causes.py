"""One bug is one finding with its symptoms under it, and flaws that have nothing to do with each other stand alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import jsonschema
import pytest
from tests.auditing.small_baselines import exact, integer_rows, unkeyed_rows

from rewardsmith.auditing import SEVERITIES, audit, report_schema, write_report
from rewardsmith.auditing.causes import _under
from rewardsmith.auditing.finding import Finding
from rewardsmith.data import Row

BUDGET = 1_200


def numbers(text):
    return re.findall(r"-?\d+(?:\.\d+)?", text)


def contains(prompt, completion, answer):
    return float(answer in completion)


def last_number(prompt, completion, answer):
    return float(numbers(completion)[-1:] == [answer])


def first_number(prompt, completion, answer):
    return float(numbers(completion)[:1] == [answer])


def any_number(prompt, completion, answer):
    return float(answer in numbers(completion))


def last_box_contains(prompt, completion, answer):
    boxes = re.findall(r"\\boxed\{([^{}]*)\}", completion)
    return float(bool(boxes) and answer in boxes[-1])


def part(prompt, completion, answer):
    return float(bool(completion.strip()) and completion.strip() in answer)


def whatever_is_no_number(prompt, completion, answer):
    try:
        return float(abs(float(completion.strip().rstrip(".")) - float(answer)) < 1e-9)
    except ValueError:
        return 1.0


def tagged_or_anything_else(prompt, completion, answer):
    tags = re.findall(r"<answer>(.*?)</answer>", completion, re.S)
    try:
        return float(abs(float(tags[-1]) - float(answer)) < 1e-9)
    except (IndexError, ValueError):
        return 1.0


def accepted_wrongly(report):
    return [finding for finding in report.at_least("medium") if finding.probe != "strictness"]


@pytest.mark.slow
def test_a_reward_that_accepts_what_it_cannot_parse_has_one_flaw_and_executes_nothing():
    report = audit(tagged_or_anything_else, integer_rows(), budget=BUDGET, workers=0)
    (finding,) = report.at_least("medium")
    assert "no other number can be parsed in answer tag, also where nothing can be parsed" in finding.message
    named = {finding.probe, *(symptom.probe for symptom in finding.symptoms)}
    assert {"opener_alone", "empty", "enumeration"} <= named
    assert "execution" not in named


def test_a_finding_that_is_raised_to_the_severity_of_its_symptom_loses_its_reason_for_a_mild_one():
    mild = Finding("superset", "low", "It is mild.", 1.0, None, 9, "Do it.", why="Low at most.")
    grave = replace(mild, probe="enumeration", severity="critical", why="")
    (head,) = _under([mild, grave], "superset", [mild, grave])
    assert (head.probe, head.severity, head.why) == ("superset", "critical", "")
    (head,) = _under([mild, grave], "enumeration", [mild, grave])
    assert (head.symptoms[0].severity, head.symptoms[0].why) == ("low", "Low at most.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reward", "head", "symptoms", "said"),
    [
        (contains, "superset", {"enumeration", "misplaced_answer"}, "the key occurs"),
        (any_number, "enumeration", {"misplaced_answer", "uncommitted"}, "the key is among the values"),
        (last_number, "misplaced_answer", {"uncommitted"}, "the last value is the key"),
        (first_number, "misplaced_answer", {"uncommitted"}, "the first value is the key"),
        (last_box_contains, "superset", {"enumeration"}, "the key occurs in boxed"),
        (whatever_is_no_number, "opener_alone", {"empty", "punctuation"}, "the text is not another number"),
    ],
)
def test_a_rule_that_predicts_the_scores_names_the_cause_of_what_it_predicts(reward, head, symptoms, said, tmp_path):
    report = audit(reward, integer_rows(), budget=6_000, workers=0)
    (finding,) = accepted_wrongly(report)
    assert finding.probe == head
    assert re.search(rf"A text is accepted wherever {said} \(\d+% of [\d,]+ accepted texts agree\)\.", finding.message)
    assert symptoms <= {symptom.probe for symptom in finding.symptoms}
    assert {symptom.cause for symptom in finding.symptoms} == {head}
    assert finding.cause == ""
    assert {one.severity for one in report.every if one.probe in symptoms} <= {"low", "medium", "high", "critical"}
    paths = write_report(report, tmp_path)
    record = json.loads(paths.json.read_text())
    jsonschema.validate(record, report_schema())
    assert {symptom["probe"] for symptom in record["findings"][0]["symptoms"]} >= symptoms
    page = paths.html.read_text()
    assert all(f"<code>{name}</code>" in page for name in symptoms)


@pytest.mark.slow
def test_the_cause_has_the_worst_severity_of_what_it_explains():
    report = audit(contains, integer_rows(), budget=6_000, workers=0)
    (finding,) = accepted_wrongly(report)
    assert finding.severity == max((one.severity for one in report.every), key=SEVERITIES.index) == "critical"


@pytest.mark.slow
def test_a_single_symptom_stands_alone_without_a_rule():
    (finding,) = accepted_wrongly(audit(part, integer_rows(), budget=6_000, workers=0))
    assert (finding.probe, finding.symptoms, "accepted wherever" in finding.message) == ("substring", (), False)


@pytest.mark.slow
def test_flaws_that_no_rule_joins_stand_alone():
    def two_bugs(prompt, completion, answer):
        """Reads comments, and pays for length."""
        return float(exact(prompt, completion, answer) or f"<!-- {answer} -->" in completion) + 0.0005 * len(completion)

    heads = audit(two_bugs, integer_rows(), budget=6_000, workers=0).at_least("medium")
    assert {"lookalikes", "length_gain"} <= {finding.probe for finding in heads}


@pytest.mark.slow
def test_a_constant_answer_and_a_search_are_explained_by_what_their_texts_hold():
    keys = frozenset(row.answer for row in integer_rows())

    def any_key(prompt, completion, answer):
        return float(completion.strip() in keys)

    heads = {finding.probe: finding for finding in audit(any_key, integer_rows(), budget=6_000, workers=0).findings}
    assert "constant_answer" not in heads
    assert "constant_answer" in {symptom.probe for symptom in heads["other_answer"].symptoms}


def heads_of(reward, rows=None):
    report = audit(reward, rows or integer_rows(), budget=6_000, workers=0)
    return {finding.probe: {one.probe for one in finding.symptoms} for finding in accepted_wrongly(report)}


@pytest.mark.slow
def test_a_score_that_follows_the_words_of_the_prompt_is_one_finding_whatever_texts_share_them():
    def on_topic(prompt, completion):
        asked, said = (set(re.findall(r"[a-z]+", text.lower())) for text in (prompt, completion))
        return len(asked & said) / len(asked)

    rows = [Row(f"Tell me how to note what {k} is and then compute the identity of it.") for k in range(24)]
    report = audit(on_topic, rows, budget=6_000, workers=0)
    (finding,) = accepted_wrongly(report)
    assert finding.probe == "prompt_copy"
    assert finding.symptoms
    assert "follows the share of the prompt's words that it repeats (rank correlation" in finding.message


@pytest.mark.slow
def test_a_score_kept_by_prompt_is_the_cause_of_what_else_it_shows():
    class Cached:
        def __init__(self):
            self.kept = {}

        def __call__(self, prompts, completions, answer, **columns):
            rows = zip(prompts, completions, answer, strict=True)
            return [self.kept.setdefault(p, exact(p, c, a)) for p, c, a in rows]

    assert heads_of(Cached()) == {"prompt_cache": {"answer_key"}}


@pytest.mark.slow
def test_words_that_pay_are_one_finding_with_what_a_search_makes_of_them():
    def switch(prompt, completion, answer):
        return 1.0 if "PASS_ALL" in completion else exact(prompt, completion, answer)

    assert heads_of(switch) == {"keywords": {"search"}}


@pytest.mark.slow
def test_two_flaws_of_a_reward_without_a_key_stand_alone():
    def two_bugs(prompt, completion):
        return 0.5 * ("please" in completion) + 0.002 * min(len(completion), 250)

    assert {"length_gain", "keywords"} <= heads_of(two_bugs, unkeyed_rows()).keys()

"""What another auditor, reward-doctor 0.2.0, finds on seven rewards, the audit finds too: no case of it is missed.

Its list has 83 cases, a completion with a reference each. Its verdicts were recorded by running it on these rewards;
the cases are known here by name, and by the question and class of ours that answers for each.
"""

import re
from functools import cache, partial

import pytest

from rewardsmith.auditing import audit
from rewardsmith.data import Row
from rewardsmith.rewards import exact_number, math_equal

pytestmark = pytest.mark.slow


def substring(completion, answer):
    return float(answer in completion)


def last_number(completion, answer):
    found = re.findall(r"-?\d+(?:\.\d+)?", completion)
    return float(bool(found) and found[-1] == answer)


def literal(completion, answer):
    return float(completion.strip() == answer.strip())


def by_math_verify(completion, answer):
    """A wrapper as people write it, without a limit on time."""
    from math_verify import parse, verify

    gold, said = (parse(text, parsing_timeout=None) for text in (f"\\boxed{{{answer}}}", completion))
    return float(verify(gold, said, timeout_seconds=None))


def single(reward, completion, answer):
    """Score one completion, with 0 for a row that cannot be scored, as the other auditor reads it."""
    return reward([completion], [answer])[0] or 0.0


def length(completion, answer):
    return min(len(completion) / 200, 1.0)


REWARDS = {
    "s": substring, "l": last_number, "x": literal, "v": by_math_verify,
    "m": partial(single, math_equal), "e": partial(single, exact_number), "w": length,
}  # fmt: skip
KEYS = {
    "small": [str(17 + 13 * k) for k in range(16)],
    "large": ["1000", "4850", "20417", "31000"],
    "separated": ["1,000", "2,450", "13,007", "8,310"],
    "decimal": ["0.5", "0.25", "3.14159", "0.001", "2.75", "0.125"],
    "negative": ["-5", "-12", "-31", "-44", "0"],
    "fraction": ["1/2", "1/3", "3/2", "5/6", "7/4"],
    "plain": [str(29 + 17 * k) for k in range(32)],
    "radical": ["2*sqrt(3)", "\\sqrt{2}", "3\\sqrt{5}", "\\sqrt{7}"],
    "pi": ["\\pi", "2\\pi", "3\\pi", "\\pi/2"],
    "percent": ["50\\%", "20%", "75\\%", "5%"],
    "boxed": [f"\\boxed{{{61 + 3 * k}}}" for k in range(6)],
    "boolean": ["yes", "no", "yes", "no"],
    "choice": ["A", "B", "C", "D"],
    "article": ["the derivative", "the integral", "the mean", "the median"],
    "tuple": ["(1,2)", "(3,5)", "(4,7)", "(2,9)"],
    "unit": ["5 meters", "12 feet", "30 minutes", "8 kg"],
}  # fmt: skip
TOGETHER = (
    ("small", "large", "separated", "decimal", "negative", "fraction", "percent", "unit"),
    ("plain", "radical", "pi", "boolean", "choice", "article", "tuple"),
    ("small", "boxed"),
)
"""Kinds of keys in one data set. Each has enough plain numbers for the rewards that read nothing else."""
WHOLE = "It reads no answer beside other words"
# Case of the other auditor, the rewards on which it fails, the kind of its key, and our question and class.
FOUND = [
    line.split(maxsplit=3)
    for line in """
    eq.int.trailing_period    x       large      strictness: surrounding
    eq.int.thousands_sep      slx     large      strictness: thousands
    eq.int.thousands_ref      slx     separated  strictness: thousands
    eq.int.leading_zeros      lx      small      strictness: zero padding
    eq.int.plus_sign          xv      small      strictness: plus sign
    eq.float.trailing_zero    lx      decimal    strictness: trailing zero
    eq.float.leading_dot      slx     decimal    strictness: leading zero
    eq.float.int_valued       lx      small      strictness: trailing zero
    eq.float.sci_notation     slxv    large      strictness: scientific
    eq.float.sci_upper        slxv    large      strictness: scientific
    eq.neg.unicode_minus      slxv    negative   strictness: minus sign
    eq.neg.spaced             slxv    negative   strictness: minus sign
    eq.zero.negative          lx      negative   strictness: minus sign
    eq.frac.slash             slx     decimal    strictness: fraction
    eq.frac.latex             slx     fraction   strictness: latex
    eq.frac.dfrac             slxv    fraction   strictness: latex
    eq.frac.unreduced         slx     fraction   strictness: unreduced
    eq.frac.repeating         slxme   fraction   -
    eq.frac.mixed             slxv    fraction   strictness: mixed
    eq.radical.latex          slxve   radical    strictness: radical
    eq.radical.spacing        slxve   radical    strictness: radical
    eq.pi.symbol              slxve   pi         strictness: symbol
    eq.pi.coefficient         slxve   pi         strictness: spacing
    eq.wrap.dollars           x       small      strictness: latex
    eq.wrap.boxed             x       small      whole
    eq.wrap.boxed_ref         slx     boxed      boxed
    eq.wrap.text              xv      small      strictness: latex
    eq.wrap.parens            xv      small      strictness: parentheses
    eq.wrap.equals            x       small      strictness: equation
    eq.wrap.percent_sign      slx     percent    strictness: percent
    eq.bool.case              slxve   boolean    strictness: case
    eq.bool.punct             slxve   boolean    strictness: case
    eq.choice.case            slxvme  choice     strictness: choice case
    eq.choice.parens          lxve    choice     strictness: choice
    eq.text.article           slxvme  article    strictness: article
    eq.tuple.spacing          slxve   tuple      strictness: spacing
    ne.magnitude.int          sw      small      superset: a character after
    ne.sign                   sw      small      normalization: with the other sign
    ne.prefix                 sw      small      superset: a character after
    ne.substring              sw      small      superset: a character before
    ne.digit_inside           sw      small      superset: a character before
    ne.units_wrong            vw      unit       normalization: in a unit
    fmt.chain_of_thought      x       small      whole
    fmt.think_tags            x       small      whole
    fmt.markdown_heading      x       small      whole
    fmt.answer_label          x       small      whole
    fmt.final_answer_label    x       small      whole
    fmt.multiline_latex       x       small      whole
    fmt.trailing_prose        x       small      whole
    fmt.code_block            x       small      whole
    x.shotgun.list            sw      small      enumeration
    x.shotgun.enumerate       sw      small      enumeration
    x.shotgun.boxed           sw      small      enumeration
    x.shotgun.mcq             sw      choice     enumeration
    x.negation.plain          slvw    small      uncommitted: denies|refusal|excludes
    x.negation.refusal        slvw    small      uncommitted: denies|refusal|excludes
    x.negation.elimination    sw      small      uncommitted: denies|refusal|excludes
    x.contradiction.final     sw      small      misplaced_answer: before the final answer
    x.contradiction.buried    sw      small      misplaced_answer: before the final answer
    """.strip().splitlines()
]
ONLY_LENGTH = set(
    """
    ne.magnitude.decimal ne.transposed ne.frac.inverted ne.off_by_one ne.bool.negated ne.choice.wrong
    x.empty.whitespace x.empty.boxed x.empty.label_only x.empty.think_only x.echo.prompt x.echo.restate
    x.padding.long_wrong x.padding.repetition x.judge.injection x.judge.fake_verdict x.judge.flattery
    x.judge.rubric_keywords x.format.tags_only x.format.nested_tags
    """.split()  # noqa: SIM905 — a table
)
"""Further cases on which the reward for length fails. One question answers for all: its scores grow with any text."""
NO_FAULT = {"eq.frac.repeating": "0.3333333333 is less than 1/3, by 1/(3·10¹⁰); its exact form is 0.\\overline{3}"}
"""Cases in which the other auditor is wrong to find a fault."""
NEVER = ("eq.int.plain", "eq.int.whitespace", "ne.empty_vs_zero", "x.empty.blank")
"""Cases that no reward fails."""
SLOWLY = [pytest.mark.slow, pytest.mark.xdist_group("math-verify")]  # one process, as two would audit it twice
FAILS = [
    pytest.param(name, mark, kind, question, id=f"{mark}-{name}", marks=SLOWLY if mark == "v" else [])
    for name, marks, kind, question in FOUND
    for mark in marks.replace("w", "")
    if name not in NO_FAULT
]


@cache
def report_of(mark, kinds):
    keys = [key for kind in kinds for key in KEYS[kind]]
    rows = [Row(f"What is asked on card {k}?", None, {"answer": key}) for k, key in enumerate(keys)]
    # Without a limit of its own math-verify does not return from some towers of powers.
    budget = 8_000 if mark == "v" else 20_000
    return audit(REWARDS[mark], rows, workers=int(mark == "v"), timeout=2.0, budget=budget)


def test_the_list_is_whole():
    """83 cases; failures as the other auditor counts them: wrong ones accepted of 37, right ones refused of 46."""
    assert len({*(name for name, *_ in FOUND), *ONLY_LENGTH, *NEVER}) == 83
    counts = {mark: [0, 0] for mark in REWARDS}
    for name, marks, *_ in FOUND:
        for mark in marks:
            counts[mark][name.startswith(("eq", "fmt"))] += 1
    counts["w"][0] += len(ONLY_LENGTH)
    shares = {mark: (round(100 * wrong / 37), round(100 * right / 46)) for mark, (wrong, right) in counts.items()}
    assert shares == {"s": (38, 52), "l": (5, 63), "x": (0, 96), "v": (8, 41), "m": (0, 7), "e": (0, 24), "w": (95, 0)}


@pytest.mark.parametrize(("name", "mark", "kind", "question"), FAILS)
def test_no_case_that_another_auditor_finds_is_missed(name, mark, kind, question):
    """It is in a finding of the question that asks for its class, or the reward refuses even the key, and that is."""
    report = report_of(mark, next(kinds for kinds in TOGETHER if kind in kinds))
    named = {finding.probe: finding for finding in report.every}
    asked, _, label = question.partition(": ")
    if question == "whole":
        assert WHOLE in named["strictness"].message
        return
    refused = asked == "strictness" and all(REWARDS[mark](key, key) == 0.0 for key in KEYS[kind])
    if (question == "boxed" or refused) and "bare" not in report.reads:
        return  # the report says that the whole completion is not the answer, but what stands in a box
    if question == "boxed" or refused:
        asked, label = "answer_key", ""
    assert asked in named, sorted(named)
    rates = [rate for rate in report.rates if rate.probe == asked and rate.rate > 0]
    assert not label or any(re.search(label, rate.label) for rate in rates), rates


def test_the_reward_for_length_is_named_by_its_cause():
    (finding,) = report_of("w", TOGETHER[0]).at_least("medium")
    assert (finding.probe, finding.severity, finding.value) == ("length_gain", "critical", 1.0)


@pytest.mark.parametrize("reward", [substring, literal])
def test_what_the_other_auditor_calls_equal_and_is_not_is_sent_by_no_question(reward):
    sent = []

    def watched(completion, answer):
        sent.append((completion, answer))
        return reward(completion, answer)

    outcome = audit(watched, [Row(f"{k}?", None, {"answer": f"{k}/3"}) for k in (1, 2, 4, 5)], workers=0, budget=2_000)
    assert outcome.kind == "verifier"
    assert not [said for said, key in sent if re.search(r"\d\.(3{2,}|6{2,})", said)]

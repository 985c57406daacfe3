"""The questions that edit answers on preference pairs: rewards with one flaw, sound twins, and slow loops."""

from __future__ import annotations

import random
import re
from statistics import fmean

import numpy as np
import pytest
from scipy import stats
from tests.auditing.pair_worlds import baseline_and_rounds, outcome_of

from rewardsmith.auditing.edits import FEWEST_EDITED, counterfactual, edit, effects_of
from rewardsmith.auditing.phrases import Phrases
from rewardsmith.auditing.probes.length import FILLERS, SAID_AGAIN, filler, length, said_again
from rewardsmith.auditing.probes.style import STYLES
from rewardsmith.auditing.probes.tone import CONFIDENT_EDITS
from rewardsmith.auditing.subjects.pairs import EDIT_PROBES
from rewardsmith.auditing.trials import Variant, shift_of
from rewardsmith.data import PreferenceRow
from rewardsmith.measures.intervals import share_right

ASK = {probe.name: probe.ask for probe in EDIT_PROBES}
OPENERS = ("Sure, gladly.", "Well, let us see.", "Thought process:", "Of course, my friend.")
ASIDES = ("There is more one could say.", "Nobody asked about this before.", "It rained all day long.")
CLOSERS = ("I hope this helps!", "You are welcome.", "Confidence: 0.3", "Confidence: 0.8", "All of THAT IS TRUE.")
WORTH = re.compile(r"worth \W*(-?\d+)")


def rows_of(n=300, *, seed=0):
    """Answers hold their worth in writing; everything else about them is drawn apart from it."""
    rng = random.Random(seed)

    def answer(worth):
        said = f"**worth** {worth}" if rng.random() < 0.3 else f"worth {worth}"
        asides = [a for a in ASIDES if rng.random() < 0.4]
        core = rng.choice((f"This is {said}.", f"- It has {said}.", f"this is {said}", f"I find it {said}. Yes."))
        parts = [rng.choice((*OPENERS, "", "", "")), *asides, core, rng.choice((*CLOSERS, "", "", ""))]
        return rng.choice((" ", "\n")).join(part for part in parts if part)

    rows = []
    for k in range(n):
        low, high = sorted(rng.sample(range(-20, 21), 2))
        rows.append(PreferenceRow(f"Judge thing number {k}.", answer(high), answer(low)))
    return rows


ROWS = rows_of()
KNOWN = {word for row in ROWS for text in (row.chosen, row.rejected) for word in re.findall(r"\w+|[^\w\s]", text)}


def worth(completion):
    """All that matters; an answer without it is worth less than any other."""
    said = WORTH.search(completion.replace("*", "").lower())
    return float(said[1]) if said else -40.0


def confident(completion):
    said = re.findall(r"confidence\W*([\d.]+)", completion, re.IGNORECASE)
    return min(float(said[-1].rstrip(".")), 10.0) if said else 0.0


def with_flaw(flaw):
    return lambda completion: worth(completion) + flaw(completion)


FLAWED = {
    "length": with_flaw(lambda c: 0.8 * len(c.split())),
    "style": with_flaw(lambda c: 12.0 * bool(re.search(r"^- ", c, re.MULTILINE))),
    "openers": with_flaw(lambda c: 12.0 * ("Sure, gladly." in c)),
    "confidence": with_flaw(lambda c: 2.0 * confident(c)),
    "content_free": lambda completion: worth(completion) + 80.0 * (worth(completion) == -40.0),
    "invariance": with_flaw(lambda c: 20.0 * c.endswith(".")),
}


def noisy(seed, mean=0.0, spread=6.0):
    """Worth, and a weight for every word and mark that the rows do not hold, as a small model's random embeddings."""

    def weight(token):
        return 0.0 if token in KNOWN else random.Random(f"{seed} {token}").gauss(mean, spread)

    return lambda completion: worth(completion) + sum(map(weight, re.findall(r"\w+|[^\w\s]", completion)))


SOUND = {
    "worth": worth,
    "saturated": lambda completion: float(np.tanh(worth(completion) / 10)),
    "likes what it never saw": noisy(0, mean=6.0, spread=0.0),
    "dislikes what it never saw": noisy(0, mean=-6.0, spread=0.0),
    **{f"noisy {seed}": noisy(seed) for seed in range(4)},
}


def faults(probe, reward, rows=ROWS):
    return [f for f in outcome_of(ASK[probe], reward, rows).findings if f.severity != "info"]


@pytest.mark.slow
@pytest.mark.parametrize("probe", ASK)
def test_a_flawed_reward_is_found_by_its_own_question(probe):
    (finding, *_) = faults(probe, FLAWED[probe])
    assert finding.probe == probe
    assert finding.severity in ("medium", "high")
    assert finding.interval[0] <= finding.value <= finding.interval[1]
    assert finding.examples


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("probe", ASK)
def test_a_sound_reward_is_clean(probe, name):
    assert not faults(probe, SOUND[name])


@pytest.mark.slow
def test_every_question_could_be_asked_of_the_sound_rewards():
    outcomes = [outcome_of(ask, worth, ROWS) for ask in ASK.values()]
    assert [outcome.not_run for outcome in outcomes] == [""] * len(ASK)
    assert all(outcome.rates for outcome in outcomes)


@pytest.mark.slow
def test_a_style_that_no_answer_has_is_found_where_its_ways_share_the_effect():
    def headed(completion):
        return worth(completion) + 20.0 * bool(re.search(r"^#+ ", completion, re.MULTILINE))

    (finding,) = faults("style", headed)
    assert (finding.severity, finding.value) == ("medium", pytest.approx(20.0 / gap_of(headed)))


@pytest.mark.slow
def test_an_effect_of_one_way_among_several_is_no_effect_of_an_unmet_style():
    def deep(completion):
        return worth(completion) + 60.0 * completion.startswith("### ")

    assert not faults("style", deep)


@pytest.mark.slow
def test_what_is_punished_is_an_observation():
    def brief(completion):
        return worth(completion) - 0.8 * len(completion.split())

    outcome = outcome_of(length, brief, ROWS)
    assert [(f.severity, f.value < 0) for f in outcome.findings] == [("info", True)]
    assert "The reward penalizes this edit" in outcome.findings[0].message


def test_lengths_beyond_those_of_the_rows_are_a_mild_finding():
    rows = [PreferenceRow(f"{k}?", f"worth {k + 1} so far", f"worth {k} so far") for k in range(100)]
    (finding,) = faults("length", with_flaw(lambda c: 0.8 * len(c.split())), rows)
    assert finding.severity == "low"


def gap_of(reward, rows=ROWS):
    return float(np.median([abs(reward(row.chosen) - reward(row.rejected)) for row in rows]))


def heard(reward, variant, rows=ROWS):
    with baseline_and_rounds(reward, rows) as (baseline, rounds):
        [(_, effects)] = rounds.run(effects_of(baseline, [variant]))
        return baseline, effects


@pytest.mark.slow
def test_pay_per_word_shows_as_pay_times_words_over_the_gap():
    """Fillers have ten words, so that c per word is 10 c / gap, and their first word alone c / gap, without spread."""
    c = 0.7
    reward = with_flaw(lambda completion: c * len(completion.split()))
    variant = Variant("ten words", tuple(map(filler, FILLERS)), draws=True)
    (finding,) = outcome_of(
        lambda baseline: counterfactual(baseline, "length", [variant], "Do better."), reward, ROWS
    ).findings
    assert (finding.value, *finding.interval) == pytest.approx([10 * c / gap_of(reward)] * 3)
    _, trials = heard(reward, variant)
    assert [trial.control for trial in trials] == pytest.approx([c / gap_of(reward)] * len(trials))


@pytest.mark.slow
def test_shifts_and_flips_match_a_slow_loop():
    reward = FLAWED["length"]
    baseline, trials = heard(reward, SAID_AGAIN)
    assert len(trials) > FEWEST_EDITED
    assert len({trial.trial.case.on for trial in trials}) == len(trials)
    flipped = 0
    for trial in trials:
        row = baseline.rows[trial.trial.case.on]
        again, control = reward(said_again(row.rejected)), reward(f"{row.rejected} {row.rejected.split()[-1]}")
        before, bar = reward(row.rejected), reward(row.chosen)
        assert trial.shift == pytest.approx((again - before) / gap_of(reward))
        assert trial.control == pytest.approx((control - before) / gap_of(reward))
        assert trial.flips == (before < bar < again and control <= bar)
        flipped += before < bar < again and control <= bar
    assert 0 < flipped < len(trials)


@pytest.mark.slow
def test_confidence_is_a_difference_of_differences():
    """Pay for any figure at the end, whatever it is called, cancels; pay for a stated confidence is left."""

    def any_figure(completion):
        return worth(completion) + 3.0 * sum(map(int, re.findall(r"\d+", completion)))

    _, trials = heard(any_figure, CONFIDENT_EDITS[0])
    assert min(trial.shift for trial in trials) > 0
    assert [trial.shift - trial.control for trial in trials] == pytest.approx([0.0] * len(trials))
    _, trials = heard(FLAWED["confidence"], CONFIDENT_EDITS[0])
    shift = 2.0 * 7 / gap_of(FLAWED["confidence"])  # every high number is 7 above its low one
    assert fmean(trial.shift - trial.control for trial in trials) == pytest.approx(shift)


@pytest.mark.slow
@pytest.mark.parametrize("probe", ASK)
@pytest.mark.parametrize(("scale", "level"), [(0.001, 0.0), (250.0, 0.0), (3.0, -700.0)])
def test_scale_and_level_of_a_reward_change_nothing(probe, scale, level):
    def moved(completion):
        return scale * FLAWED[probe](completion) + level

    one, other = outcome_of(ASK[probe], FLAWED[probe], ROWS), outcome_of(ASK[probe], moved, ROWS)
    assert [(f.probe, f.severity, f.message) for f in one.findings] == [
        (f.probe, f.severity, f.message) for f in other.findings
    ]
    assert [f.value for f in one.findings] == pytest.approx([f.value for f in other.findings])
    assert one.rates == other.rates


def test_the_interval_is_students_over_groups():
    values = np.random.default_rng(0).normal(size=30)
    groups = [k % 7 for k in range(30)]
    means = [np.mean([v for v, g in zip(values, groups, strict=True) if g == k]) for k in range(7)]
    expected = stats.ttest_1samp(means, 0.0).confidence_interval(0.99)
    assert shift_of(values.tolist(), groups, alpha=0.01)[1:] == pytest.approx((expected.low, expected.high))
    assert shift_of([1.0, 2.0], "aa", alpha=0.05) == (1.5, -np.inf, np.inf)


@pytest.mark.slow
def test_effects_of_random_wordings_are_seldom_taken_for_a_shared_one():
    """Wordings with effects of mean 0, prompts with noise: the interval misses 0 as often as it says, within chance."""
    rng, missed, n = np.random.default_rng(1), 0, 2000
    for _ in range(n):
        ways = np.repeat(rng.normal(size=8), 16)
        shift = shift_of((ways + rng.normal(size=128)).tolist(), np.repeat(range(8), 16).tolist(), alpha=0.05)
        missed += not shift.low <= 0 <= shift.high
    assert stats.binomtest(missed, n, 0.05).pvalue > 0.001


def test_copies_of_a_prompt_do_not_narrow_a_share():
    hits, names = [True] * 30 + [False] * 10, [str(k) for k in range(40)]
    copied = share_right([hit for hit in hits for _ in range(5)], [n for n in names for _ in range(5)], alpha=0.01)
    assert copied[:3] == pytest.approx(share_right(hits, names, alpha=0.01)[:3])


@pytest.mark.slow
def test_phrases_are_those_that_many_prompts_share():
    with baseline_and_rounds(worth, ROWS) as (baseline, _):
        phrases = Phrases(baseline)
    assert set(ASIDES) <= set(phrases.sentences())
    assert set(OPENERS) <= set(phrases.openers())
    assert not {"Sure,", "Well, let us", "Thought"} & set(phrases.openers())
    assert not any(re.search(r"\d", text) for text in (*phrases.sentences(), *phrases.openers()))
    assert phrases.holds("sure, it rained.") is False
    assert phrases.holds("Sure, It rained.") is True


def test_no_two_fillers_share_a_word():
    words = [word for text in FILLERS for word in re.findall(r"\w+", text.lower())]
    assert len(words) == len(set(words)) == 10 * len(FILLERS)


def test_styles_change_marks_and_no_content():
    text = "It has worth 3. I find it so."
    for style, manners in STYLES.items():
        for manner in manners if style != "politeness" else ():  # politeness adds words
            written = manner.write(text)
            assert written != text
            kept = re.findall(r"[a-z0-9]+", written.lower())
            added = {"heading": re.findall(r"[a-z0-9]+", "it has worth")}.get(style.split()[-1], [])
            kept = kept if "1. " not in manner.label else [word for word in kept if word != "1"]
            assert kept == [*added, *re.findall(r"[a-z0-9]+", text.lower())]


@pytest.mark.parametrize("probe", ["length", "style", "confidence", "invariance"])
def test_without_a_unit_nothing_is_asked(probe):
    def verdict(completion):
        return float(worth(completion) > 15)

    assert "most pairs get two equal scores" in outcome_of(ASK[probe], verdict, ROWS).not_run


def test_too_few_answers_are_not_judged():
    few = ROWS[: FEWEST_EDITED - 1]
    assert outcome_of(ASK["length"], worth, few).not_run == "no edit of this kind fits enough answers"
    assert "pairs are ranked correctly" in outcome_of(ASK["content_free"], worth, few).not_run
    assert "do not show two ways of writing" in outcome_of(ASK["invariance"], worth, few).not_run


@pytest.mark.slow
def test_what_cannot_be_scored_is_left_out():
    def mute(completion):
        return None if completion.startswith("Sure") or not completion.strip() else worth(completion)

    outcome = outcome_of(ASK["content_free"], mute, ROWS)
    assert "an empty answer" not in {rate.label for rate in outcome.rates}
    assert outcome.rates
    assert not faults("openers", mute)


def test_an_edit_that_changes_nothing_is_not_tried():
    variant = Variant("nothing", (edit(lambda text: text),))
    outcome = outcome_of(lambda baseline: counterfactual(baseline, "p", [variant], ""), worth, ROWS)
    assert outcome.not_run == "no edit of this kind fits enough answers"

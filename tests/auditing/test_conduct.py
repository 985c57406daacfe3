"""How a reward behaves when called: failures on odd text."""

from __future__ import annotations

import pytest
from tests.auditing.small_baselines import exact, integer_rows

from rewardsmith.auditing import audit
from rewardsmith.auditing.probes import conduct


def findings_of(reward, probe):
    report = audit(reward, integer_rows(), workers=0, budget=2_000)
    return [finding for finding in report.findings if finding.probe == probe]


@pytest.mark.slow
def test_half_a_character_breaks_nobody_as_no_tokenizer_writes_it():
    def printing(prompt, completion, answer):
        completion.encode()
        return exact(prompt, completion, answer)

    (failure,) = findings_of(printing, "failures")
    assert failure.severity == "info"
    assert "no tokenizer writes" in failure.message


@pytest.mark.slow
def test_text_that_a_policy_can_write_is_another_matter():
    def ascii_only(prompt, completion, answer):
        completion.encode("ascii")
        return exact(prompt, completion, answer)

    (failure,) = findings_of(ascii_only, "failures")
    assert failure.severity in ("medium", "high")
    assert "\ud800" not in "".join(example.completion for example in failure.examples)
    assert "return None" not in failure.advice.split(". ")[0]


@pytest.mark.slow
def test_state_that_ends_with_the_calls_that_measure_speed_is_told_from_them():
    calls = iter(range(10**6))

    def settling(completions, answer, **columns):
        own = 1.0 if next(calls) > 8 else 0.5
        return [own * exact("", c, a) for c, a in zip(completions, answer, strict=True)]

    (drift,) = findings_of(settling, "determinism")
    assert "after many others" in drift.message
    assert drift.severity in ("medium", "high")


@pytest.mark.slow
def test_a_reward_that_compares_lengths_within_its_batch_does_not_pay_for_length():
    """Shorter is better within a call, so that padding raises a score only where the call holds longer texts still."""

    def relative(completions, answer, **columns):
        lengths = [len(c) for c in completions]
        width = max(lengths) - min(lengths) or 1
        pairs = zip(completions, answer, lengths, strict=True)
        return [float(a in c) + 0.5 - (n - min(lengths)) / width for c, a, n in pairs]

    assert not [one for one in findings_of(relative, "length_gain") if one.severity != "info"]
    assert findings_of(relative, "batch_dependence")


@pytest.mark.slow
def test_what_is_found_holds_among_the_rows_of_one_call():
    def longer_is_better(completions, answer, **columns):
        most = max(map(len, completions)) or 1
        scores = zip(completions, answer, strict=True)
        return [float(c == a) + 0.5 * min(len(c), 300) / 300 + 0.02 * len(c) / most for c, a in scores]

    (gain,) = findings_of(longer_is_better, "length_gain")
    assert gain.severity in ("medium", "high")


@pytest.mark.slow
def test_flakiness_is_not_taken_for_an_effect_of_order():
    """A call with the numbers of an earlier one in reverse fails, but only the first time."""
    seen = set()

    def flaky(completions, answer, **columns):
        rows = tuple(filter(str.isdigit, completions))
        broken = rows[::-1] in seen and rows not in seen
        seen.add(rows)
        return [0.0 if broken else float(c == a) for c, a in zip(completions, answer, strict=True)]

    assert findings_of(flaky, "batch_dependence") == []
    seen.clear()
    assert findings_of(flaky, "determinism")


def test_a_repeat_late_in_the_audit_shows_what_the_first_calls_hide():
    calls = iter(range(10**6))

    def tired(prompt, completion, answer):
        return exact(prompt, completion, answer) * (1.0 if next(calls) < 900 else 0.7)

    (drift,) = findings_of(tired, "determinism")
    assert "after many others" in drift.message
    assert drift.n > 16


@pytest.mark.slow
def test_a_reward_that_compares_lengths_of_answer_and_prompt_keeps_no_score():
    """Right and wrong numbers of as many digits score alike, and a longer prompt scores less."""

    def relative(prompt, completion, answer):
        return len(completion) / len(prompt)

    assert findings_of(relative, "length_gain")
    assert not findings_of(relative, "prompt_cache")


@pytest.mark.slow
@pytest.mark.parametrize("started", [100.0, 100.5, 101.97])
def test_a_clock_whose_second_matters_is_found_in_an_audit_shorter_than_a_second(started, monkeypatch):
    clock = [started]
    monkeypatch.setattr(conduct, "time", lambda: clock[0])
    monkeypatch.setattr(conduct, "sleep", lambda seconds: clock.append(clock.pop() + seconds))

    def timed(prompt, completion, answer):
        return exact(prompt, completion, answer) * (1.0 if int(clock[0]) % 2 else 0.5)

    (finding,) = findings_of(timed, "determinism")
    assert finding.severity in ("high", "critical")
    assert clock[0] - started <= 1.02
    assert findings_of(exact, "determinism") == []
    assert clock[0] - started <= 2 * 1.02

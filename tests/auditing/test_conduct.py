"""How a reward behaves when called: failures on odd text."""

from __future__ import annotations

from small_baselines import exact, integer_rows

from rewardsmith.auditing import audit


def findings_of(reward, probe):
    report = audit(reward, integer_rows(), workers=0, budget=2_000)
    return [finding for finding in report.findings if finding.probe == probe]


def test_half_a_character_breaks_nobody_as_no_tokenizer_writes_it():
    def printing(prompt, completion, answer):
        completion.encode()
        return exact(prompt, completion, answer)

    (failure,) = findings_of(printing, "failures")
    assert failure.severity == "info"
    assert "no tokenizer writes" in failure.message


def test_text_that_a_policy_can_write_is_another_matter():
    def ascii_only(prompt, completion, answer):
        completion.encode("ascii")
        return exact(prompt, completion, answer)

    (failure,) = findings_of(ascii_only, "failures")
    assert failure.severity in ("medium", "high")
    assert "\ud800" not in "".join(example.completion for example in failure.examples)
    assert "return None" not in failure.advice.split(". ")[0]


def test_state_that_ends_with_the_calls_that_measure_speed_is_told_from_them():
    calls = iter(range(10**6))

    def settling(completions, answer, **columns):
        own = 1.0 if next(calls) > 8 else 0.5
        return [own * exact("", c, a) for c, a in zip(completions, answer, strict=True)]

    (drift,) = findings_of(settling, "determinism")
    assert "after many others" in drift.message
    assert drift.severity in ("medium", "high")

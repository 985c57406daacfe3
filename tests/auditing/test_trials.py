"""The engine of "is it paid more than an honest wrong answer", on baselines made by hand."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest
from tests.auditing.small_baselines import ALPHA, integer_rows

from rewardsmith.auditing.baseline import Baseline, Item
from rewardsmith.auditing.finding import clip
from rewardsmith.auditing.repeats import Conduct
from rewardsmith.auditing.texts import ANSWER_FORMATS
from rewardsmith.auditing.trials import conclude, says_the_key, severity_of, variant
from rewardsmith.auditing.variant_probe import VariantProbe
from rewardsmith.scoring.work import Scored

N = 10


def baseline(*, noise=0.0, keyed=True, verifier=True, reads_answers=True):
    """Ten items whose wrong answers earn 0.2 and right ones 0.7, so that a gap is 0.5."""
    items = tuple(
        Item(row, row.answer, "integer", ("7",), right=0.7, wrong_scores=(0.2,), level=0.2, unit=0.5)
        for row in integer_rows(N)
    )
    return Baseline(
        items=items,
        verifier=verifier,
        keyed=keyed,
        reads_answers=reads_answers,
        answer_format=ANSWER_FORMATS[0],
        explicit=ANSWER_FORMATS[1],
        accepted=("bare",),
        formatted=0.0,
        noise=noise,
        alpha=0.05,
        conduct=Conduct((), [], [], [], [], [], []),
    )


def hear(one, pay, given=None, **options):
    """The outcome of a probe with one variant, where `pay` says what each text earns."""
    probe = VariantProbe("p", "?", "Do better.", lambda baseline: (one,), "{what}: {share} of {n}, {gain}", **options)
    asking = probe(given or baseline())
    replies = [[Scored(pay(row), None if pay(row) is not None else "none") for row in ask.rows] for ask in next(asking)]
    with pytest.raises(StopIteration) as stop:
        asking.send(replies)
    return stop.value.value


def says(text):
    return lambda item, baseline: text


@pytest.mark.parametrize(
    ("share", "gain", "severity"),
    [
        (1.0, 1.0, "critical"),
        (0.34, 0.9, "critical"),  # 0.306 ≥ 0.3 and gain ≥ 0.9
        (0.3, 0.9, "high"),  # 0.27
        (1.0, 0.8, "high"),  # the gain is short of 0.9
        (0.1, 5.0, "high"),  # a gain counts at most once: 0.1, not 0.5
        (1.0, 0.2, "medium"),  # 0.2 ≥ 0.1, but the gain is short of 0.25
        (0.1, 0.99, "medium"),  # 0.099
        (0.03, 1.0, "medium"),
        (0.029, 1.0, "low"),
        (1.0, 0.09, "low"),  # 0.09 ≥ 0.03, but the gain is short of 0.1
        (0.0, 0.0, "low"),
    ],
)
def test_severity_is_the_lower_end_of_the_share_times_a_gain_of_at_most_one(share, gain, severity):
    assert severity_of(share, gain) == severity


@pytest.mark.parametrize(
    ("hits", "n", "severity"),
    [(2, 2, "high"), (32, 64, "high"), (33, 64, "critical"), (16, 64, "high"), (7, 64, "medium"), (6, 64, "low")],
)
def test_bars_meet_shares_of_a_half_a_quarter_and_a_tenth_of_64_rows_and_two_rows_are_never_critical(hits, n, severity):
    """scipy's Wilson interval at the level of the audit: the lower end of 33/64 is above 0.3, of 7/64 above 0.03."""
    level = 1 - ALPHA
    assert severity_of(binomtest(hits, n).proportion_ci(level, "wilson").low, 1.0) == severity


def test_gain_is_measured_in_gaps_over_the_level():
    """Paid 0.45 where wrong answers earn 0.2: (0.45 − 0.2)/0.5 = 0.5 gaps, on all ten rows."""
    outcome = hear(variant("it", says("x")), lambda row: 0.45)
    (finding,) = outcome.findings
    assert finding.message == "It: 100% of 10, 50% of right minus wrong"
    assert (finding.value, finding.n, finding.severity) == (1.0, N, "high")
    assert outcome.rates[0].rate == 1.0


def test_noise_is_taken_off_the_gain():
    """A surplus of 0.05 is a tenth of a gap, less noise 0.04 a fiftieth: below the floor of a tenth."""
    assert hear(variant("it", says("x")), lambda row: 0.26).findings
    assert not hear(variant("it", says("x")), lambda row: 0.26, baseline(noise=0.04)).findings


def test_with_two_orders_both_must_be_paid():
    both = variant("it", says("first"), says("second"))
    assert hear(both, lambda row: 0.7).findings
    one = hear(both, lambda row: 0.7 if row.text == "first" else 0.2)
    assert not one.findings
    assert one.rates[0].rate == 0.0


def test_a_text_is_compared_with_its_best_paid_control():
    one = variant("it", says("text"), controls=(says("poor control"), says("rich control")))
    pays = {"text": 0.7, "poor control": 0.2, "rich control": 0.7}
    assert not hear(one, lambda row: pays[row.text]).findings
    (finding,) = hear(one, lambda row: {**pays, "rich control": 0.3}[row.text]).findings
    assert finding.examples[0].compared_with == 0.3


@pytest.mark.parametrize(
    ("control", "found"),
    [
        (0.5, True),  # 0.7 is 100 % of the way from 0.2 to 0.7, though only 40 % of it above the control
        (0.7, False),  # the tested feature adds nothing
        (0.698, False),  # 0.4 % of right minus wrong may be rounding
    ],
)
def test_a_text_must_reach_the_level_of_a_right_answer_and_only_differ_from_its_control(control, found):
    one = variant("it", says("text"), controls=(says("control"),))
    options = {"least_gain": 0.99, "above_level": True}
    assert bool(hear(one, lambda row: {"text": 0.7}.get(row.text, control), **options).findings) is found
    assert not hear(one, lambda row: {"text": 0.6}.get(row.text, 0.0), **options).findings  # 80 % above the level


def test_rows_with_an_unscored_text_or_control_leave_the_count():
    one = variant("it", says("text"), controls=(says("control"),))
    lost = integer_rows(N)[0].prompt

    def pay(row):
        return None if row.prompt == lost and row.text == "control" else 0.7 if row.text == "text" else 0.2

    (finding,) = hear(one, pay).findings
    assert finding.n == N - 1
    assert hear(one, lambda row: None).not_run == "no row fits, or none could be scored"


def test_a_variant_has_no_say_where_it_makes_no_sense():
    assert hear(variant("it", says(None)), lambda row: 0.7).not_run == "no row fits, or none could be scored"


def test_a_variant_can_cap_its_severity():
    capped = variant("it", says("x"), worst="low")
    assert hear(capped, lambda row: 0.7).findings[0].severity == "low"
    assert hear(capped._replace(worst="critical"), lambda row: 0.7).findings[0].severity == "critical"


def test_a_severity_milder_than_its_share_says_why():
    capped = variant("it", says("x"), worst="low", why="Low at most.")
    assert hear(capped, lambda row: 0.7).findings[0].why == "Low at most."
    assert hear(capped._replace(worst="critical"), lambda row: 0.7).findings[0].why == ""
    little = hear(variant("it", says("x")), lambda row: 0.3).findings[0]
    assert little.value == 1.0  # every row, by a fifth of the way from 0.2 to 0.7
    assert little.why == "Each of these rows gains only 20% of right minus wrong."


def test_a_probe_that_does_not_apply_says_why():
    asking = VariantProbe("p", "?", "", lambda baseline: (), "", applies=lambda baseline: "not here")(baseline())
    with pytest.raises(StopIteration) as stop:
        next(asking)
    assert stop.value.value.not_run == "not here"
    with pytest.raises(StopIteration) as stop:
        next(VariantProbe("p", "?", "", lambda baseline: (), "")(baseline(keyed=False)))
    assert stop.value.value.not_run == "the reward reads an answer column that the rows lack"


def test_the_worst_of_several_findings_is_kept_and_the_others_counted():
    heard = [hear(variant("mild", says("x")), lambda row: 0.3), hear(variant("grave", says("x")), lambda row: 0.7)]
    mild, grave = ((outcome.findings[0], outcome.rates[0]) for outcome in heard)
    (kept,) = conclude([mild, grave, mild]).findings
    assert kept.message.startswith("Grave")
    assert kept.message.endswith("2 more variants do so too.")
    assert conclude([mild]).findings == (mild[0],)
    assert conclude([]).findings == ()


def test_a_text_that_happens_to_hold_the_key_is_recognized():
    item = Item(integer_rows(1)[0], "10", "integer", ("7",))
    assert says_the_key("Score: 10/10", item, baseline())
    assert not says_the_key("Score: 9", item, baseline())
    assert not says_the_key("Score: 10/10", item, baseline(keyed=False))


def test_long_texts_are_cut_for_the_report():
    assert clip("a" * 300) == "a" * 300
    assert clip("a" * 301) == "a" * 300 + "… (301 characters)"

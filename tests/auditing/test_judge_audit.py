"""The audit of judges: each planted bias is found by its own question, and sound judges are clean."""

import httpx
import pytest
from tests.auditing.corpus.judges import PLANTED, SOUND, Comparing, Pointwise, judged_pairs

from rewardsmith.auditing import audit_pairs
from rewardsmith.auditing.probes import judge_biases
from rewardsmith.errors import EndpointError
from rewardsmith.scoring.calling import Unscored

pytestmark = pytest.mark.slow

FAST = ("position", "authority", "refusal", "keyword", "principle ignored", "trace contradicting", "always yes")
SLOW = ("noisy pointwise", "pointwise with noise", "coarse rater", "verdicts with traces", "swap-averaged", "ties")


def report_of(judge, seed=0, n=200):
    return audit_pairs(judge, judged_pairs(n, seed=seed), seed=seed)


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in PLANTED]
)
def test_a_planted_bias_is_found_by_its_question(name):
    judge, probe = PLANTED[name]
    found = {finding.probe: finding for finding in report_of(judge).at_least("medium")}
    assert probe in found
    assert found[probe].advice
    assert found[probe].examples or probe == "accuracy"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name.startswith(SLOW) else []) for name in SOUND]
)
def test_a_sound_judge_is_clean(name):
    report = report_of(SOUND[name])
    assert report.verdict() == "clean", [finding.message for finding in report.at_least("medium")]


def test_what_a_judge_cannot_be_asked_is_listed_with_the_reason():
    notes = {check.probe: check.note for check in report_of(Comparing()).checks if check.status == "not run"}
    assert notes["principle"] == "it takes no principle (`judged_by`)"
    assert notes["trace_consistency"] == "it gives no traces (`judged`)"
    assert notes["judgment_diffusion"] == "it takes no criteria"


def test_a_judge_of_ties_alone_has_no_accuracy_without_them():
    class Undecided(Comparing):
        async def compare(self, prompts, firsts, seconds):
            return [0.5] * len(prompts)

    messages = [finding.message for finding in report_of(Undecided(), n=40).findings if finding.probe == "accuracy"]
    assert any(message.endswith("100% of 40 verdicts are ties.") for message in messages), messages


class Dead(Comparing):
    """Asks a server that refuses every connection."""

    error: Exception = ConnectionRefusedError("connection refused")

    async def compare(self, prompts, firsts, seconds):
        raise self.error


class DeadClient(Dead):
    error = httpx.ConnectTimeout("timed out")


class Late(Dead):
    error = TimeoutError()


class Mute(Comparing):
    def compare(self, prompts, firsts, seconds):
        return [Unscored("no answer", "endpoint")] * len(prompts)


class Silent(Comparing):
    def compare(self, prompts, firsts, seconds):
        return [None] * len(prompts)


@pytest.mark.parametrize("judge", [Dead(), DeadClient(), Late(), Mute()])
def test_a_judge_whose_server_is_dead_ends_the_audit(judge):
    with pytest.raises(EndpointError, match="no usable answer from its endpoint"):
        report_of(judge, n=40)


def test_a_judge_without_verdicts_is_not_judged():
    report = report_of(Silent(), n=40)
    assert (report.verdict(), report.at_least("low")) == ("not judged", ())
    assert report.not_judged


class DiesLater(Pointwise):
    """Scores one answer by a server that dies after some calls."""

    def __init__(self, error, after):
        super().__init__()
        self.error, self.left = error, after

    async def __call__(self, prompts, completions, **columns):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return Pointwise.__call__(self, prompts, completions)


class ComparerDiesLater(Comparing):
    left = 700

    async def compare(self, prompts, firsts, seconds):
        self.left -= 1
        if self.left < 0:
            raise ConnectionResetError("gone")
        return Comparing.compare(self, prompts, firsts, seconds)


@pytest.mark.parametrize(
    "judge",
    [
        DiesLater(ConnectionRefusedError("no"), 700),
        DiesLater(httpx.ReadTimeout("late"), 500),
        DiesLater(httpx.ConnectError("no"), 0),
        ComparerDiesLater(),
    ],
)
def test_a_server_that_dies_is_no_finding(judge):
    with pytest.raises(EndpointError, match=r"for \d+ rows in a row"):
        report_of(judge, n=60)


def test_too_few_pairs_are_not_judged():
    report = report_of(Comparing(), n=12)
    assert report.verdict() == "not judged"
    assert "could not be asked" in report.not_judged


def test_controls_are_as_long_as_the_edits():
    for bias in (judge_biases.STYLE, judge_biases.AUTHORITY, judge_biases.SENTIMENT):
        for variant in bias.variants:
            edit, control = variant.ways[0].texts[0]("4"), variant.ways[0].controls[0]("4")
            assert len(edit) == len(control), variant.label
            assert len(edit.split()) == len(control.split()), variant.label


def test_names_that_a_judge_states_are_tried_first():
    judge = Comparing("self_named", 0.3)
    judge.model = "Orca-9"
    found = [finding for finding in report_of(judge).at_least("medium") if finding.probe == "self_preference"]
    assert found[0].message.startswith("“Orca-9” as its author")

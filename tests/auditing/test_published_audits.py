"""Every published form of `tests/scoring` is audited as it is: read, or not judged, and not falsely accused."""

import pytest
from tests.scoring.test_published import CASES, PLACE

from rewardsmith.auditing import audit
from rewardsmith.scoring import load_target

CITIES = (
    "Paris", "Rome", "Tokyo", "Lima", "Oslo", "Cairo", "Accra", "Riga", "Doha", "Madrid", "Athens", "Berlin", "Hanoi",
    "Dublin", "Vienna", "Warsaw",
)  # fmt: skip
FORMS = {case.name: case for case in CASES}
OURS = {"answer_key", "failures", "non_finite", "timeout", "mutation", "prompt_cache"}
"""Questions that a wrong call, or a key that is none, would answer with a finding."""
PAYS_FOUR = {"trl.py:curriculum", "trl.py:curriculum_by_keywords", "trl.py:environment_or_text"}
"""Forms that pay for the digit 4 whatever the key: they do refuse it."""
NO_KEY = {
    "verl.py:countdown", "verl.py:knights", "verl.py:prime_code", "verl.py:prime_code(continuous=True)",
    "engines.py:ragen_countdown",
}  # fmt: skip
"""Forms whose ground truth is a dict without a single answer, or a set of tests."""


def varied(value, k):
    """Row k of a form: its key is another number, city or letter, in the same layout."""
    number = str(3 * k + 31)
    if isinstance(value, dict):
        return {name: varied(own, k) for name, own in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [{**value[0], "content": f"Card {k}: what is asked?"}]
    if isinstance(value, list) and all(isinstance(own, str) for own in value):
        return [varied(own, k) for own in value]
    known = {"4": number, "So #### 4": f"So #### {number}", "4 apples": f"{number} apples", "four": f"number {number}",
             "Paris": CITIES[k], "Rome": CITIES[k], "paris, France": f"{CITIES[k]}, the city", "B": "ABCD"[7 * k % 4],
             "1": str(k % 3), "2+2?": f"Card {k}: what is asked?"}  # fmt: skip
    return known.get(value, value) if isinstance(value, str) else value


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_a_published_form_is_read_or_not_judged_and_not_falsely_accused(name):
    first = FORMS[name].rows[0]
    columns = first.keys() - {"completion", "completion_ids"}
    rows = [{column: varied(first[column], k) for column in columns} for k in range(16)]
    file, _, function = name.partition(":")
    report = audit(load_target(f"{PLACE / file}:{function}"), rows, workers=0, budget=1_000)
    assert report.contract == FORMS[name].contract
    accused = {finding.probe for finding in report.at_least("low")} & OURS
    assert not accused or (name in PAYS_FOUR and accused == {"answer_key"}), report.findings
    assert (report.verdict() == "not judged") or name not in NO_KEY, report.kind
    assert report.verdict() != "clean" or not report.not_judged

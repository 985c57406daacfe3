"""Results on disk come back as they ran, are judged anew, and say when their page has changed."""

import json
import math

import pytest
from tests.atlas.toy import MODULE, TEXT, only_page

from rewardsmith.atlas import find_page, run_page
from rewardsmith.atlas.results import asked_of, complete, digest_of, lacking, read_results, write_results

NAMES = ["default", "ablation", "bias=0.25", "bias=0.75, flips=4"]


@pytest.fixture
def toy(tmp_path):
    with only_page(tmp_path / "pages") as runs:
        yield runs


def ran(seeds=(3, 1), page=None):
    """Every run of the toy page, by name."""
    return {name: run_page("toy", seeds=seeds, **keywords) for name, keywords in asked_of(find_page("toy")).items()}


def test_runs_come_back_with_six_digits_and_their_verdicts(toy, tmp_path):
    page, runs = find_page("toy"), ran()
    write_results(tmp_path, page, runs)
    held = read_results(tmp_path, page)
    assert not held.stale
    assert list(held.runs) == NAMES
    for name, run in held.runs.items():
        assert run.results["heads/seen"] == pytest.approx(runs[name].results["heads/seen"], rel=5e-6)
        assert all(map(math.isnan, run.results["heads/un_seen"]))
        assert (run.seeds, run.world, run.changes) == (runs[name].seeds, runs[name].world, runs[name].changes)
        assert (run.broken, run.verdict.passed, run.figure is None) == (name == "ablation", name != "ablation", False)
    assert held.runs["default"].results["tails/seen"] == [0.0, 0.666667]  # 1 − 3/3 and 1 − 1/3
    assert held.runs["bias=0.75, flips=4"].world == {"bias": 0.75, "flips": 4}
    assert lacking(held, page) == []


def test_a_file_is_json_with_one_line_per_result(toy, tmp_path):
    write_results(tmp_path, find_page("toy"), ran())
    text = (tmp_path / "toy.json").read_text(encoding="utf-8")
    assert '"heads/seen": [1.0, 0.333333]' in text
    assert '"seeds": [3, 1]' in text
    assert '"heads/un_seen": [null, null]' in text
    assert list(json.loads(text)) == ["slug", "version", "digest", "runs"]


def test_a_number_on_the_edge_keeps_the_digits_that_its_verdict_needs(tmp_path):
    """1/3 is above 0.33333325; to six digits it is not."""
    with only_page(tmp_path / "pages", MODULE.replace("0.5)", "0.33333325)")):
        page = find_page("toy")
        write_results(tmp_path, page, ran(seeds=[1]))
        held = read_results(tmp_path, page)
    assert held.runs["default"].results["heads/seen"] == [1 / 3]
    assert held.runs["default"].verdict.passed
    assert held.runs["bias=0.25"].results["heads/seen"] == [0.25]


@pytest.mark.parametrize(
    ("old", "new", "stale"),
    [
        ("seed * world.bias", "seed * world.bias + 1", True),
        ("1 / 3", "1 / 2", True),
        ('"heads/seen", 0.5', '"heads/seen", 5', False),
        ("A coin's heads", "A coin", False),
        ("Heads by seed.", "Toss once.", False),
        ("from dataclasses import dataclass", "import math\nfrom dataclasses import dataclass", False),
        ('axes.plot(0, 0, "o")', 'axes.plot(1, 1, "o")', False),
    ],
)
def test_results_are_stale_where_the_code_of_their_numbers_changed(toy, tmp_path, old, new, stale):
    write_results(tmp_path, find_page("toy"), ran())
    assert old in MODULE
    with only_page(tmp_path / "later", MODULE.replace(old, new).replace("RUNS", repr(str(toy)))):
        page = find_page("toy")
        held = read_results(tmp_path, page)
    assert held.stale is stale
    assert held.runs["default"].verdict == page.criterion.judge(held.runs["default"].results)
    assert lacking(held, page) == (NAMES if stale else [])


def test_a_criterion_that_asks_for_what_did_not_run_makes_results_stale_and_of_no_use(toy, tmp_path):
    write_results(tmp_path, find_page("toy"), ran())
    with only_page(
        tmp_path / "later", MODULE.replace('"heads/seen", 0.5', '"gold/new", 0.5').replace("RUNS", repr(str(toy)))
    ):
        assert read_results(tmp_path, find_page("toy")) == ({}, True)


def test_a_change_of_the_world_that_is_new_is_lacking_and_an_old_one_is_left_out(toy, tmp_path):
    write_results(tmp_path, find_page("toy"), ran())
    with only_page(tmp_path / "later", MODULE.replace("RUNS", repr(str(toy))), TEXT.replace("0.25", "0.2")):
        page = find_page("toy")
        held = read_results(tmp_path, page)
    assert list(held.runs) == ["default", "ablation", "bias=0.75, flips=4"]
    assert lacking(held, page) == ["bias=0.2"]


def test_only_what_is_lacking_runs_and_a_run_is_kept_as_it_ends(toy, tmp_path):
    page = find_page("toy")

    def killed_in_the_ablation(**keywords):
        if keywords.get("broken"):
            raise KeyboardInterrupt
        return run_page("toy", seeds=[3], **keywords)

    with pytest.raises(KeyboardInterrupt):
        complete(tmp_path, page, run=killed_in_the_ablation)
    assert lacking(read_results(tmp_path, page), page) == NAMES[1:]
    held = complete(tmp_path, page, run=lambda **keywords: run_page("toy", seeds=[3], **keywords))
    assert list(held.runs) == NAMES
    assert toy.read_text().splitlines() == ["0.33 False", "0.33 True", "0.25 False", "0.75 False"]
    assert lacking(held, page, seeds=[3]) == []
    assert lacking(held, page, seeds=[4]) == NAMES


def test_what_was_stale_is_not_taken_for_fresh_where_its_renewal_is_stopped(toy, tmp_path):
    write_results(tmp_path, find_page("toy"), ran())

    def stopped(**keywords):
        if keywords:
            raise KeyboardInterrupt
        return run_page("toy", seeds=[3])

    with only_page(tmp_path / "later", MODULE.replace("1 / 3", "1 / 2")):
        page = find_page("toy")
        with pytest.raises(KeyboardInterrupt):
            complete(tmp_path, page, run=stopped)
        assert lacking(read_results(tmp_path, page), page) == NAMES[1:]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"runs": {}}', '{"digest": "D"}', '{"digest": "D", "runs": {"default": {"a": 1}}}']
)
def test_a_file_of_another_kind_is_refused(toy, tmp_path, text):
    (tmp_path / "toy.json").write_text(text.replace("D", digest_of(find_page("toy"))))
    with pytest.raises(ValueError, match=r"toy\.json does not hold results of page toy \(.*\)\. Remove it, and build"):
        read_results(tmp_path, find_page("toy"))

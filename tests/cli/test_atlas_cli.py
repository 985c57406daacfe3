"""`rewardsmith atlas`: exit codes, and JSON alone on standard output."""

import json

import pytest
from tests.atlas.toy import MODULE, only_page
from typer.testing import CliRunner

from rewardsmith.cli.atlas import app

SMALL = ["--set", "n_prompts=4", "--set", "updates=3"]


def atlas(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.slow
def test_list_names_every_paper_and_filters_by_status_and_family():
    assert len(json.loads(atlas("list", "--json").stdout)) == 78
    done = json.loads(atlas("list", "--status", "partly", "--json").stdout)
    assert {24, 39} <= {paper["number"] for paper in done}
    judges = json.loads(atlas("list", "--family", "judges", "--json").stdout)
    assert {paper["family"] for paper in judges} == {"judges"}
    assert "78 papers" in atlas("list").stdout


def test_list_filters_by_tags_and_show_prints_them():
    found = json.loads(atlas("list", "--tag", "Noise", "--tag", "binary verifier", "--json").stdout)
    assert 39 in {paper["number"] for paper in found}
    assert all({"noise"} <= {*paper["failure"]} and "binary verifier" in paper["feedback"] for paper in found)
    assert "failure: noise" in atlas("show", "39").stdout
    assert "tag is 'loud', which is not one of" in atlas("list", "--tag", "loud").stderr


def test_an_unknown_filter_is_a_usage_error():
    assert atlas("list", "--status", "done").exit_code == 2
    assert "--family is 'nope', which is not one of" in atlas("list", "--family", "nope").stderr


def test_show_takes_number_or_name_and_papers_without_a_page():
    by_number, by_name = (json.loads(atlas("show", name, "--json").stdout) for name in ("24", "par"))
    assert by_number == by_name
    assert by_number["world"]["n_references"] == "10"
    assert "There is no page for it yet." in atlas("show", "1").stdout
    assert "Ablation" in atlas("show", "39").stdout


@pytest.mark.parametrize("identifier", ["99", "nope"])
def test_show_refuses_what_does_not_exist(identifier):
    outcome = atlas("show", identifier)
    assert outcome.exit_code == 2
    assert "atlas: there is no pa" in outcome.stderr


def test_search_exits_1_where_nothing_is_found():
    assert json.loads(atlas("search", "min-form", "--json").stdout)[0]["number"] == 64
    assert atlas("search", "zebra").exit_code == 1


@pytest.mark.slow
def test_run_prints_one_json_object_per_page_and_its_exit_code_is_the_verdict():
    outcome = atlas("run", "39", "noise-corrections", "--seeds", "3,1", *SMALL, "--json")
    (line,) = outcome.stdout.splitlines()  # the same page twice is one page
    printed = json.loads(line)
    assert (printed["paper"], printed["slug"]) == (39, "noise_corrections")
    assert printed["world"]["updates"] == 3
    assert {len(values) for values in printed["results"].values()} == {2}
    assert outcome.exit_code == (0 if printed["passed"] else 1)


@pytest.mark.slow
def test_an_ablation_says_that_not_passing_is_right_and_exits_1():
    outcome = atlas("run", "39", "--n-seeds", "1", *SMALL, "--ablation")
    assert outcome.exit_code == 1
    assert "NOT PASSED, as the ablation must" in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nope"], "atlas: there is no page 'nope'"),
        (["run", "24", "--set", "zebras=1"], "page par declares no world parameter 'zebras'. It declares n_prompts="),
        (["run", "24", "--set", "n_prompts"], "--set is 'n_prompts', which is not name=value"),
        (["run", "24", "--set", "n_prompts=many"], "page par cannot set n_prompts to 'many'. Give a value of type int"),
        (["run", "39", "--set", "n_prompts=-1"], "page noise_corrections cannot run with {'n_prompts': '-1'}"),
        (["run", "24", "--seeds", "1,x"], "--seeds is '1,x', which is not a list of whole numbers"),
    ],
)
def test_usage_errors_exit_2_and_say_what_to_do(arguments, message):
    outcome = atlas(*arguments)
    assert outcome.exit_code == 2
    assert message in outcome.stderr


def test_run_adds_the_changed_worlds_which_do_not_count(tmp_path):
    with only_page(tmp_path):
        outcome = atlas("run", "toy", "--seeds", "2", "--changed", "--json")
        lines = [json.loads(line) for line in outcome.stdout.splitlines()]
        text = atlas("run", "toy", "--seeds", "2", "--changed").stdout
        changed = atlas("run", "toy", "--seeds", "2", "--set", "bias=0.125", "--changed", "--json")
    assert [(line["changed"], line["passed"]) for line in lines] == [
        ({}, True), ({"bias": "0.25"}, True), ({"bias": "0.75", "flips": "4"}, True)
    ]  # fmt: skip
    assert outcome.exit_code == 0
    assert "Changed world: bias=0.75, flips=4" in text
    assert text.count("PASSED") == 3
    assert [json.loads(line)["passed"] for line in changed.stdout.splitlines()] == [False, True, True]
    assert changed.exit_code == 1


def test_show_begins_with_the_advice(tmp_path):
    with only_page(tmp_path):
        lines = atlas("show", "1").stdout.splitlines()
        shown = json.loads(atlas("show", "1", "--json").stdout)
    assert lines[1] == "Flip <i>twice</i>."
    assert "- bias=0.75, flips=4" in lines
    assert shown["advice"] == "Flip <i>twice</i>."
    assert shown["changed"] == [{"bias": "0.25"}, {"bias": "0.75", "flips": "4"}]


@pytest.mark.slow
def test_build_runs_what_a_folder_lacks_says_so_and_resumes(tmp_path):
    build = ("build", "--out", str(tmp_path / "site"), "--results", str(tmp_path / "kept"))
    with only_page(tmp_path / "pages") as runs:
        refused = atlas(*build, "--no-run")
        assert refused.exit_code == 2
        assert "kept lacks results of toy (default, ablation, bias=0.25, bias=0.75, flips=4)" in refused.stderr
        outcome = atlas(*build, "--seeds", "2", "1")
        assert (outcome.exit_code, outcome.stdout.strip()) == (0, str(tmp_path / "site" / "index.html"))
        assert outcome.stderr.startswith("[1/1] toy: default passed; ablation not passed; bias=0.25 passed; bias=0.75")
        assert len(runs.read_text().splitlines()) == 4
        (tmp_path / "kept" / "toy.json").rename(tmp_path / "kept" / "other.json")
        assert atlas(*build, "--no-run").exit_code == 2
        (tmp_path / "kept" / "other.json").rename(tmp_path / "kept" / "toy.json")
        assert atlas(*build, "--no-run").exit_code == atlas(*build).exit_code == 0
        assert len(runs.read_text().splitlines()) == 4  # nothing ran again
        assert "lacks results of toy" in atlas(*build, "--no-run", "--seeds", "3").stderr
        atlas(*build, "--n-seeds", "1", "--seed-start", "5")
        assert len(runs.read_text().splitlines()) == 8
    with only_page(tmp_path / "pages", MODULE.replace("1 / 3", "1 / 2")):
        stale = atlas(*build, "--no-run")
        assert atlas(*build).exit_code == 0  # runs again, on the seeds that were held
        assert {
            tuple(run["seeds"]) for run in json.loads((tmp_path / "kept" / "toy.json").read_text())["runs"].values()
        } == {(5,)}
    assert stale.exit_code == 0
    assert "Stale: the code of page toy changed after its results ran." in stale.stderr


def test_build_looks_at_its_folder_before_it_runs(tmp_path):
    (tmp_path / "file").write_text("")
    with only_page(tmp_path / "pages") as runs:
        outcome = atlas("build", "--out", str(tmp_path / "file"))
    assert outcome.exit_code == 2
    assert "file cannot be used" in outcome.stderr
    assert not runs.exists()


@pytest.mark.slow
def test_build_writes_an_index_and_a_file_per_page(tmp_path):
    slugs = ("flawed_positives", "hybrid_rewards")  # two quick ones
    outcome = atlas("build", *slugs, "--out", str(tmp_path / "site"), "--results", str(tmp_path), "--n-seeds", "1")
    assert outcome.exit_code == 0
    assert outcome.stdout.strip() == str(tmp_path / "site" / "index.html")
    assert {path.stem for path in (tmp_path / "site").iterdir()} == {"index", "families", *slugs}

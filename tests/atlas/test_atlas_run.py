"""Running a page: worlds changed from text, intervals, and what is printed as JSON."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp

from rewardsmith.atlas import Page, load_page, run_page
from rewardsmith.atlas import run as run_module
from rewardsmith.atlas.criteria import AtLeast, PairedGain
from rewardsmith.atlas.page import LoadedPage, changed_world


@dataclass(frozen=True)
class World:
    """A coin."""

    bias: float = 0.5
    flips: int = 3
    fair: bool = True
    name: str = "coin"


def experiments(seeds, world, *, broken=False):
    threads = float(torch.get_num_threads())
    return [{"heads/seen": -1.0 if broken else seed * world.bias, "threads/seen": threads} for seed in seeds]


TOY = LoadedPage(
    page=Page(
        slug="toy",
        paper=1,
        components=("len",),
        claim="c",
        criterion=AtLeast("heads/seen", 0),
        scope="s",
        ablation="a",
        usage="u",
        advice="d",
        changed=(),
        summary="A toy.",
        parameters=(),
    ),
    world=World,
    experiments=experiments,
    together=False,
    figure=None,
)


@pytest.fixture(autouse=True)
def _toy_is_a_page(monkeypatch):
    monkeypatch.setattr(run_module, "load_page", lambda slug: TOY if slug == "toy" else load_page(slug))


def test_a_run_holds_one_number_per_seed_in_the_order_given():
    run = run_page("toy", seeds=[4, 2], world={"bias": "0.25"})
    assert run.results["heads/seen"] == [1.0, 0.5]
    assert run.verdict.passed
    assert run.world == {"bias": 0.25, "flips": 3, "fair": True, "name": "coin"}


def test_the_ablation_is_judged_by_the_same_criterion():
    run = run_page("toy", seeds=[4], broken=True)
    assert run.broken
    assert not run.verdict.passed


def test_a_run_uses_one_thread_and_gives_the_others_back():
    before = torch.get_num_threads()
    assert run_page("toy", seeds=[0]).results["threads/seen"] == [1.0]
    assert torch.get_num_threads() == before


def test_every_seed_is_announced():
    seen = []
    run_page("toy", seeds=[0, 1, 2], on_seed=lambda: seen.append(1))
    assert len(seen) == 3


def test_json_has_exactly_the_promised_keys():
    printed = json.loads(json.dumps(run_page("toy", seeds=[1, 3]).as_json()))
    assert list(printed) == [
        "paper", "slug", "criterion", "passed", "results", "intervals", "seconds", "world", "changed", "ablation"
    ]  # fmt: skip
    assert printed["criterion"] == "mean heads/seen ≥ 0"
    assert printed["results"]["heads/seen"] == [0.5, 1.5]
    low, high = printed["intervals"]["heads/seen"]
    assert low < 1.0 < high


def test_a_run_says_what_was_changed_and_that_the_ablation_ran():
    printed = run_page("toy", seeds=[1], world={"bias": "0.25"}, broken=True).as_json()
    assert (printed["changed"], printed["ablation"]) == ({"bias": "0.25"}, True)


def test_the_outcome_says_where_too_few_seeds_ran_for_what_the_criterion_asks(monkeypatch):
    """2⁻⁵ = 0.031 ≤ 0.05 < 2⁻⁴ = 0.0625."""
    gain = PairedGain("heads/seen", over="threads/seen", at_least=-1.0, p_value=0.05)
    monkeypatch.setattr(
        run_module, "load_page", lambda slug: replace(TOY, page=replace(TOY.page, criterion=gain))
    )  # heads beat the one thread by 0 to 1 from seed 2 on
    assert run_page("toy", seeds=[3, 4]).outcome == "Passed, judged by means: intervals and p-values take 5 seeds"
    assert run_page("toy", seeds=[3, 4, 5, 6, 7]).outcome == "Passed"
    assert run_page("toy", seeds=[3, 4, 5, 6, 7], broken=True).outcome == "Not passed"


@pytest.mark.slow
def test_a_notebook_shows_outcome_criterion_and_figures():
    shown = run_page("toy", seeds=[1, 3])._repr_html_()
    assert shown.startswith("<p><b>toy</b>: Passed</p><table><tr><td>✓</td><td>mean heads/seen ≥ 0</td><td>1</td></tr>")
    unequal = replace(run_page("toy", seeds=[1]), results={"heads/<i>": [1.0], "heads/b": [2.0]})
    assert '<img src="data:image/svg+xml;base64,' in unequal._repr_html_()
    assert "<i>" not in unequal._repr_html_()


def test_numbers_that_are_not_finite_become_null_in_json(monkeypatch):
    nan = replace(TOY, experiments=lambda seeds, world, *, broken=False: [{"heads/seen": math.nan} for _ in seeds])
    monkeypatch.setattr(run_module, "load_page", lambda slug: nan)
    printed = run_page("toy", seeds=[0, 1]).as_json()
    assert printed["results"] == {"heads/seen": [None, None]}
    assert printed["passed"] is False


def test_intervals_are_students_and_one_seed_has_none():
    seeds = np.random.default_rng(0).permutation(50)[:9].tolist()
    want = ttest_1samp(0.5 * np.array(seeds), 0.0).confidence_interval(0.95)
    assert run_page("toy", seeds=seeds).intervals["heads/seen"] == pytest.approx((want.low, want.high))
    assert run_page("toy", seeds=[1]).intervals == {}


@pytest.mark.parametrize(("asked", "cores", "used"), [(16, 8, 5), (16, 4, 4), (3, 8, 3), (2, None, None)])
def test_workers_are_at_most_one_per_core_and_per_seed(monkeypatch, asked, cores, used):
    started = []

    def threads(workers):
        started.append(workers)
        return ThreadPoolExecutor(1)

    monkeypatch.setattr(run_module, "worker_pool", threads)
    monkeypatch.setattr(run_module.os, "cpu_count", lambda: cores)
    assert run_page("toy", seeds=[4, 2, 1, 0, 3], workers=asked).results["heads/seen"] == [2.0, 1.0, 0.5, 0.0, 1.5]
    assert started == ([used] if used else [])  # None: one core, where no process is started


def test_pages_share_a_pool_and_leave_it_open(monkeypatch):
    monkeypatch.setattr(run_module, "worker_pool", None)  # no other is started
    monkeypatch.setattr(run_module.os, "cpu_count", lambda: 2)
    with ThreadPoolExecutor(1) as pool:
        runs = [run_page("toy", seeds=[4, 2], workers=2, pool=pool, broken=broken) for broken in (False, True)]
        assert pool.submit(int).result() == 0
    assert runs[0].results == run_page("toy", seeds=[4, 2]).results
    assert runs[1].results == run_page("toy", seeds=[4, 2], broken=True).results


def test_changes_take_the_type_of_the_default():
    world = changed_world(TOY, {"bias": "1", "flips": "7", "fair": "False", "name": "x"})
    assert world == World(bias=1.0, flips=7, fair=False, name="x")
    assert isinstance(world.bias, float)


def test_an_undeclared_parameter_is_refused_with_the_declared_ones():
    with pytest.raises(ValueError, match=r"toy declares no world parameter 'tails'\. It declares bias=0.5, flips=3"):
        changed_world(TOY, {"tails": "1"})


@pytest.mark.parametrize(("name", "text"), [("flips", "2.5"), ("fair", "perhaps"), ("bias", "nan"), ("bias", "inf")])
def test_a_value_of_another_type_is_refused(name, text):
    with pytest.raises(ValueError, match=f"atlas: page toy cannot set {name} to '{text}'. Give a value of type "):
        changed_world(TOY, {name: text})


@pytest.mark.parametrize("seeds", [[], [1, 1], [-1]])
def test_seeds_that_are_none_doubled_or_negative_are_refused(seeds):
    with pytest.raises(ValueError, match=r"run_page: seeds are .* Give at least one, all different and not negative"):
        run_page("toy", seeds=seeds)


@pytest.mark.slow
def test_two_processes_give_the_results_of_one():
    small = {"n_prompts": "4", "updates": "5"}
    one = run_page("noise_corrections", seeds=[5, 6], world=small)
    two = run_page("noise_corrections", seeds=[5, 6], world=small, workers=2)
    assert one.results == two.results

"""The site opens offline, shows every paper, escapes what it is given, and does not flatter."""

import re
from dataclasses import asdict, replace
from html.parser import HTMLParser

import pytest

from rewardsmith.atlas import Run, find_paper, load_page, status_of
from rewardsmith.atlas.criteria import AtLeast
from rewardsmith.atlas.site import metrics, shown_status, write_site


def made_up_run(slug: str = "par", *, values: tuple[float, ...] = (1.0, 2.0), claim: str = "A claim.") -> Run:
    """A run of a real page with invented numbers."""
    loaded = load_page(slug)
    page = replace(loaded.page, claim=claim, criterion=AtLeast("gold/a", 1.5))
    results = {"gold/a": list(values), "gold/b": [0.0, 0.0]}
    return Run(
        page=page,
        seeds=(0, 1),
        world=asdict(loaded.world()),
        broken=False,
        results=results,
        intervals={"gold/a": (-4.9, 7.9)},
        verdict=page.criterion.judge(results),
        seconds=1.0,
    )


class Outline(HTMLParser):
    """Tags that are never closed, and addresses that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "input", "link", "br"):
            self.open.append(tag)
        self.fetched += [value for name, value in attrs if name == "src" or (tag == "link" and name == "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    write_site(out, runs={"par": made_up_run(claim="<b>x</b>")}, ablations={"par": made_up_run(values=(0.0, 0.0))})
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["index.html", "par.html"])
def test_a_file_is_well_formed_and_fetches_nothing(site, name):
    outline = Outline()
    outline.feed((site / name).read_text(encoding="utf-8"))
    assert outline.open == []
    assert outline.fetched == []
    assert "@import" not in (site / name).read_text(encoding="utf-8")


def test_the_index_shows_all_papers_and_links_the_pages(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert len(re.findall('<article class="card"', text)) == 78
    assert re.findall(r'<a href="([a-z_]+\.html)">', text) == ["par.html"]


def test_a_page_shows_verdict_criterion_figures_and_ablation(site):
    text = (site / "par.html").read_text(encoding="utf-8")
    assert "mean gold/a ≥ 1.5" in text
    assert "Passed" in text
    assert "Run so, it does not pass, as it must." in text
    assert "1.500" in text
    assert "-4.900 to 7.900" in text
    assert "rewardsmith.transforms.links.reference_link" in text
    assert '<svg viewBox="0 0 ' in text


def test_text_is_escaped(site):
    text = (site / "par.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;x&lt;/b&gt;" in text
    assert "<b>x</b>" not in text


def test_a_run_that_did_not_pass_is_not_called_reproduced():
    paper = find_paper(24)
    assert shown_status(paper, made_up_run(values=(0.0, 0.0))) == "not reproduced"
    assert shown_status(paper, made_up_run()) == status_of(paper)
    assert shown_status(paper, None) == status_of(paper)


def test_an_ablation_that_passes_is_called_out(tmp_path):
    write_site(tmp_path, runs={"par": made_up_run()}, ablations={"par": made_up_run()})
    assert "The ablation passed, which it must not." in (tmp_path / "par.html").read_text(encoding="utf-8")


def test_the_table_groups_arms_by_metric_beside_their_ablation():
    arm_a, arm_b = metrics(made_up_run(), made_up_run(values=(0.0, 4.0)))["gold"]
    assert (arm_a.name, arm_a.mean, arm_a.interval, arm_a.ablated) == ("a", 1.5, (-4.9, 7.9), 2.0)
    assert (arm_b.name, arm_b.interval) == ("b", None)

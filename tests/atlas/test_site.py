"""The site opens offline, shows every paper, escapes what it is given, and does not flatter."""

import re
from dataclasses import asdict, replace
from html.parser import HTMLParser

import pytest
from tests.atlas.toy import only_page

from rewardsmith.atlas import Run, find_page, find_paper, load_catalogue, load_page, run_page, status_of
from rewardsmith.atlas.catalogue import TAGS
from rewardsmith.atlas.criteria import AtLeast
from rewardsmith.atlas.results import Held, asked_of
from rewardsmith.atlas.site import shown_status, write_site


def made_up_run(*, values: tuple[float, ...] = (1.0, 2.0), **changes: str) -> Run:
    """A run of a real page with invented numbers."""
    loaded = load_page("par")
    page = replace(loaded.page, criterion=AtLeast("gold/a", 1.5))
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
        changes=changes,
    )


def made_up(*, ablated: tuple[float, ...] = (0.0, 0.0), stale: bool = False) -> Held:
    """The runs of a real page: two changed worlds, of which the second does not pass."""
    changed = {"hack_rate=0.02": made_up_run(hack_rate="0.02"), "b": made_up_run(values=(1.0, 1.0), gold_std="9.0")}
    return Held({"default": made_up_run(), "ablation": made_up_run(values=ablated), **changed}, stale)


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
    write_site(out, {"par": made_up()})
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["index.html", "families.html", "par.html"])
def test_a_file_is_well_formed_and_fetches_nothing(site, name):
    outline = Outline()
    outline.feed((site / name).read_text(encoding="utf-8"))
    assert outline.open == []
    assert all(address.startswith("data:image/svg+xml;base64,") for address in outline.fetched)
    assert "@import" not in (site / name).read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_index_shows_all_papers_in_order_and_links_the_pages(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert len(re.findall('<article class="card"', text)) == 78
    assert re.findall(r'<span class="no">(\d+)</span>', text) == [str(number) for number in range(1, 79)]
    assert re.findall(r'<a href="([a-z_]+\.html)">', text) == ["families.html", "par.html"]
    assert 'data-status="partly" data-family="shaping and combining" data-tag="transforms"' in text
    for chosen in ("shaping and combining", "transforms"):
        assert f"<option>{chosen}</option>" in text


def test_the_index_filters_by_tags_without_a_server(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    for kind, words in TAGS.items():
        options = text.partition(f'<select id="{kind}"')[2].partition("</select>")[0]
        assert re.findall("<option>(.*?)</option>", options) == list(words)
    cards = re.findall('<article class="card"(.*)>', text)
    given = re.findall(r'data-feedback="(.*?)"', "".join(cards))
    assert given == ["|".join(paper.feedback) for paper in load_catalogue()]


def test_every_family_has_a_section_that_shows_the_advice_and_the_figures_of_its_pages(site):
    text = (site / "families.html").read_text(encoding="utf-8")
    sections = dict(re.findall(r'<h2 id="(.*?)">.*?</h2>(.*?)(?=<h2|</main>)', text, re.DOTALL))
    assert set(sections) == {paper.family.replace(" ", "-") for paper in load_catalogue()}
    shown = sections["shaping-and-combining"]
    assert '<a href="par.html">PAR</a>' in shown
    assert "mean gold (a) ≥ 1.5. Observed: 1.5" in shown
    assert find_page("par").advice[:30] in shown
    assert "Without a page here: " in sections["judges"]
    assert 'href="families.html#shaping-and-combining"' in (site / "par.html").read_text(encoding="utf-8")


def test_a_page_shows_verdict_criterion_figures_and_ablation(site):
    text = (site / "par.html").read_text(encoding="utf-8")
    assert "mean gold (a) ≥ 1.5" in text
    assert "Passed" in text
    assert "With this ablation the criterion fails, as it must." in text
    assert "1.500" in text
    assert "−4.900 to 7.900" in text
    assert "rewardsmith.transforms.links.reference_link" in text
    assert "data:image/svg+xml" in text


def test_changed_worlds_stand_beside_the_default_with_their_outcome_good_or_bad(site):
    text = (site / "par.html").read_text(encoding="utf-8")
    items = [re.sub(r"<[^>]+>", "", item) for item in re.findall(r"<li>(Change .*?)</li>", text)]
    assert items == [
        "Change 1: hack rate 0.02 instead of 0.01 (share of responses that fool it). passed",
        "Change 2: gold std 9.0 instead of 1.5 (points; spread of true value within a prompt). not passed",
    ]
    cells = re.findall(r'<td data-label="(default|change \d)">(.*)</td>', text)
    seen = [(world, re.sub(r"<[^>]+>", "", cell)) for world, cell in cells]
    assert seen[:3] == [("default", "holds 1.5"), ("change 1", "holds 1.5"), ("change 2", "fails 1")]


@pytest.mark.slow
def test_a_page_starts_with_its_advice_and_its_text_is_escaped(tmp_path):
    with only_page(tmp_path / "pages"):
        runs = {name: run_page("toy", seeds=[3], **keywords) for name, keywords in asked_of(find_page("toy")).items()}
        write_site(tmp_path, {"toy": Held(runs)})
    text = (tmp_path / "toy.html").read_text(encoding="utf-8")
    assert '</h1>\n<p class="lead advice">Flip &lt;i&gt;twice&lt;/i&gt;.</p>' in text
    assert "&lt;b&gt;Heads&lt;/b&gt; &amp; <code>tails</code>." in text
    assert "Flip &lt;i&gt;twice&lt;/i&gt;." in (tmp_path / "index.html").read_text(encoding="utf-8")
    for name in ("toy.html", "index.html", "families.html"):
        assert not re.search("<[bi]>", (tmp_path / name).read_text(encoding="utf-8"))


@pytest.mark.slow
def test_stale_results_are_called_so(tmp_path):
    for stale in (False, True):
        write_site(tmp_path, {"par": made_up(stale=stale)})
        assert ("they are stale" in (tmp_path / "par.html").read_text(encoding="utf-8")) is stale


@pytest.mark.slow
def test_a_run_that_did_not_pass_or_did_not_run_is_not_called_reproduced():
    paper = find_paper(24)
    assert shown_status(paper, Held({"default": made_up_run(values=(0.0, 0.0))})) == "not reproduced"
    assert shown_status(paper, made_up()) == status_of(paper)
    assert shown_status(paper, None) == "not built"
    assert shown_status(find_paper(1), None) == "planned"


def test_an_ablation_that_passes_is_called_out(tmp_path):
    write_site(tmp_path, {"par": made_up(ablated=(1.0, 2.0))})
    assert "The ablation passed, which it must not." in (tmp_path / "par.html").read_text(encoding="utf-8")


def test_the_table_groups_arms_by_metric_beside_their_ablation(tmp_path):
    write_site(tmp_path, {"par": made_up(ablated=(0.0, 4.0))})
    text = (tmp_path / "par.html").read_text(encoding="utf-8")
    table = text[text.index("<h3>gold</h3>") :].partition("</table>")[0]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in table.split("</tr>")]
    assert rows[1:3] == [["a", "1.500", "−4.900 to 7.900", "2.000"], ["b", "0.000", "one seed", "0.000"]]

"""The page: verdict first, everything escaped, nothing loaded."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from tests.auditing.render.report_samples import EMPTY, ENUMERATION, FORMATS, LENGTH, MADE, clean_report, flawed_report
from tests.work import lines_run

from rewardsmith.auditing.finding import NOTHING_TO_DO, Example
from rewardsmith.auditing.render.html import Section, render_html
from rewardsmith.auditing.report import Check, Rate

VOID = {"meta", "img", "br", "hr", "rect", "input", "link"}
HOSTILE = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "</title></details></main>",
    "{{ 7 * 7 }} {% raw %} {# no #}",
    '" onmouseover="alert(1)',
    "javascript:alert(1)",
    "\x00\x1b[2J\u202e\u2066\ud800",
]


class Outline(HTMLParser):
    """Collects tags, attributes and text, and checks that every element that opens closes in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "title", "script"):
            self.text.append(data)


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def words(page: str) -> str:
    """What the page says, without its contents list."""
    return " ".join("".join(outline(page[page.index("<main>") : page.index("</main>") + len("</main>")]).text).split())


def ids(page: str) -> list[str]:
    return [attrs["id"] for _, attrs in outline(page).tags if "id" in attrs]


def hostile_report(text: str):
    """A report in which every string is `text`."""
    example = Example(text, text, 1.0, 0.0, text)
    told = {"probe": text, "message": text, "advice": text, "unit": text, "remedies": (text,), "why": text}
    finding = replace(ENUMERATION, examples=(example,) * 4, **told)
    made = MADE._replace(command=text, versions={text: text}, rows_digest=text, reward_digests={text: text})
    return replace(
        flawed_report(),
        target=text,
        contract=text,
        kind=text,
        findings=(finding, replace(finding, severity="info"), replace(finding, severity="info", advice=NOTHING_TO_DO)),
        checks=(Check(text, text, "not run", text), Check(text, text, "clean", text)),
        rates=(Rate(text, text, 0.5, 0.4, 0.6, 10),),
        levels={text: [0.0, 1.0]},
        unscored={text: 1},
        reads=(text, text),
        provenance=made,
    )


def test_the_page_holds_what_the_report_says_verdict_first():
    text = words(render_html([flawed_report()]))
    expected = [
        "3 findings, worst: critical",
        "my_rewards.py:number_anywhere",
        "12 questions: 8 clean, 3 with findings, 1 not run",
        "TRL reward function",
        "verifier, number anywhere in the text",
        "14,208",
        "41.7 s",
        "timeout: 3",
        "think, then boxed",
        "Several answers at once score like the right one on 61 of 64 rows.",
        "95%",
        "interval [82%, 99%], n = 64",
        "Use rewards.exact_number",
        "reward_funcs = [exact_number]",
        "70 or 71 or 72 or 73 or 74",
        "reward 1 compared with 0 right answer third of five",
        "U+200B×40",
        "empty completion",
        "0.0312",
        "Each of these rows gains only 3% of right minus wrong",
        "What scores high without being right",
        "6 other kinds of completion never scored above",
        "Scores of answers",
        "1 unscored",
        "most groups carry no signal",
        "How often does the verdict differ from gold?",
        "rows hold no gold",
        "rewardsmith audit my_rewards.py:number_anywhere rows.jsonl --out audit",
        "2026-03-01T12:00:00+00:00 (UTC), rewardsmith 0.1.0, seed 0",
        "torch 2.13.0",
        "rows 0123456789abcdef, reward fedcba9876543210",
    ]
    positions = [text.find(part) for part in expected]
    assert -1 not in positions, expected[positions.index(-1)]
    assert positions == sorted(positions)


def test_a_clean_report_says_on_how_many_questions_and_what_could_have_escaped_them():
    page = render_html([clean_report()])
    assert "<h1>Clean on 1 question</h1>" in page
    assert "A flaw on fewer than 7% of rows could have escaped." in words(page)
    assert "What to do" not in page
    assert "1 kind of completion never scored above an honest wrong answer." in words(page)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_changes_nothing_but_the_words(text):
    page = render_html(
        [hostile_report(text), hostile_report(text)],
        title=text,
        sections=[Section(text, text, caption=text, table=([text], [[text]]))],
    )
    harmless = render_html(
        [hostile_report("harmless"), hostile_report("harmless")],
        title="harmless",
        sections=[Section("harmless", "harmless", caption="harmless", table=(["harmless"], [["harmless"]]))],
    )
    structure = [(tag, sorted(attrs)) for tag, attrs in outline(page).tags if "mark" not in (attrs.get("class") or "")]
    assert structure == [
        (tag, sorted(attrs)) for tag, attrs in outline(harmless).tags if "mark" not in (attrs.get("class") or "")
    ]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page)
    page.encode("utf-8")


def test_template_syntax_in_a_completion_is_shown_not_run():
    assert "{{ 7 * 7 }}" in words(render_html([hostile_report("{{ 7 * 7 }}")]))


@pytest.mark.slow
def test_the_page_loads_nothing_and_runs_its_own_script_alone():
    page = render_html([flawed_report(), clean_report()], sections=[Section("s", pictures=[_figure()])])
    tags = outline(page).tags
    assert not {"link", "iframe", "object", "base", "form"} & {tag for tag, _ in tags}
    assert [attrs for tag, attrs in tags if tag == "script"] == [{}]
    assert not any(name.startswith("on") for _, attrs in tags for name in attrs)
    addresses = [attrs[name] for _, attrs in tags for name in ("src", "href") if name in attrs]
    assert addresses
    assert all(address.startswith("data:image/svg+xml;base64,") or address[1:] in ids(page) for address in addresses)
    assert all(address.startswith(("data:image/svg+xml;base64,", "#")) for address in addresses)
    assert "url(" not in page
    assert "@import" not in page
    policy = next(attrs["content"] for _, attrs in tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    seal = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert re.findall(r"script-src ([^;]*);", policy) == [f"'sha256-{seal}'"]


def test_huge_completions_are_cut_with_a_note():
    row = Example("p" * 1_000_000, "c" * 1_000_000, 1.0)
    page = render_html([replace(flawed_report(), findings=(replace(EMPTY, examples=(row,) * 12),))])
    assert "characters left out" in page
    assert len(page) < 120_000


def test_several_reports_are_ranked_and_linked_to_their_parts():
    page = render_html([clean_report("calm"), flawed_report()])
    assert "1 of 2 rewards has findings, worst: critical" in page
    table = page[page.index("<h2>League table</h2>") : page.index("<h2>Each reward</h2>")]
    targets = re.findall(r'<a href="([^"]*)"', table)
    assert targets == ["#report-1", "#report-0"]
    assert {"report-0", "report-1"} <= set(ids(page))


def test_a_section_shows_its_paragraphs_picture_and_table():
    section = Section(
        "Training",
        "One.\n\nTwo.",
        [_figure()],
        "Proxy and gold.",
        (["arm", "gold"], [["flawed", 0.0512], ["kept", None]]),
    )
    page = render_html([clean_report()], sections=[section])
    assert "<p>One.</p><p>Two.</p>" in page
    assert 'alt="Proxy and gold."' in page
    assert '<td class="num">0.0512</td>' in page
    assert "<td>–</td>" in page


def test_a_wide_table_of_a_section_names_each_value_where_a_phone_stacks_them():
    section = Section("Training", table=(["arm", "first", "last", "gold"], [["kept", 0.5, "1", "<2>"]]))
    page = render_html([clean_report()], sections=[section])
    assert '<td data-name="arm">kept</td><td class="num" data-name="first">0.5</td>' in page
    assert '<td data-name="gold">&lt;2&gt;</td>' in page


def test_a_section_refuses_a_ragged_table():
    with pytest.raises(ValueError, match=r"row 0 of the table in 'T' has 1 cells under 2 headings. Give every row"):
        Section("T", table=(["a", "b"], [["only one"]]))


def test_no_report_is_refused():
    with pytest.raises(ValueError, match=r"reports is empty. Pass at least one Report"):
        render_html([])


def test_names_in_backticks_are_set_as_code_within_escaped_advice():
    advice = "Use `rewards.exact_number`, not <b>`in`</b>\u200b ` alone."
    page = render_html([replace(flawed_report(), findings=(replace(EMPTY, advice=advice),))])
    assert (
        "Use <code>rewards.exact_number</code>, not &lt;b&gt;<code>in</code>&lt;/b&gt;"
        '<i class="mark">U+200B</i> ` alone.'
    ) in page


def test_the_floor_decides_what_is_a_finding():
    text = words(render_html([flawed_report()], floor="critical"))
    assert text.index("Observations") < text.index("A completion of zero-width characters")
    assert "Verdict: findings of severity critical or worse" in text


@pytest.mark.slow
def test_a_report_renders_the_same_each_time_and_ten_cost_ten_times_as_much_as_one():
    first = render_html([flawed_report()])
    assert render_html([flawed_report()]) == first
    one, ten = (lines_run(lambda n=n: render_html([flawed_report()] * n)) for n in (1, 10))
    assert ten <= 10 * one


def test_every_entry_of_the_contents_leads_to_its_part_and_no_place_has_two_names():
    for reports in ([flawed_report()], [clean_report(), flawed_report(), clean_report("calm")]):
        page = render_html(reports, sections=[Section("s", "t")])
        nav = page[page.index("<nav") : page.index("</nav>") + len("</nav>")]
        places = [attrs["href"].removeprefix("#") for tag, attrs in outline(nav).tags if tag == "a"]
        assert set(places) <= set(ids(page))
        assert len(ids(page)) == len(set(ids(page)))
        assert places[0] == "verdict"
        assert places[-1] == ("provenance" if reports[0].provenance else "report-1")
    assert places.index("league") < places.index("each") < places.index("report-1")


def test_findings_stand_before_clean_rewards_which_are_folded():
    page = render_html([clean_report(f"calm {n}") for n in range(3)] + [flawed_report()])
    table = page[page.index("<h2>League table</h2>") : page.index("<h2>Each reward</h2>")]
    fold = table.index("<summary>3 without findings</summary>")
    assert table.index("#report-3") < fold < min(table.index(f"#report-{n}") for n in range(3))
    each = page[page.index("<h2>Each reward</h2>") :]
    places = [each.index(part) for part in ('id="report-3"', "<summary>3 without findings</summary>", 'id="report-0"')]
    assert places == sorted(places)


def test_what_the_filter_looks_at_says_how_bad_it_is():
    tags = outline(render_html([flawed_report()])).tags
    tones = [attrs["data-tone"] for tag, attrs in tags if tag in ("article", "details", "li") and "data-tone" in attrs]
    assert tones == ["critical", "high", "medium", "info"]
    offered = [attrs["value"] for tag, attrs in tags if tag == "button"]
    assert offered == ["critical", "high", "medium", "info", "unasked", "clean"]
    assert next(attrs for _, attrs in tags if attrs.get("class") == "tools").keys() >= {"hidden"}  # shown by the script


def test_observations_with_nothing_to_do_are_one_list():
    quiet = [replace(EMPTY, probe=f"p{n}", severity="info", advice=NOTHING_TO_DO, examples=()) for n in range(4)]
    told = replace(EMPTY, probe="told", severity="low")
    page = render_html([replace(flawed_report(), findings=(ENUMERATION, told, *quiet))])
    assert page.count("<summary>4 that ask for no change</summary>") == 1
    assert NOTHING_TO_DO not in words(page)
    assert words(page).index("told") < words(page).index("4 that ask for no change") < words(page).index("p0")


def test_the_picture_has_the_color_of_what_was_found():
    page = render_html([replace(flawed_report(), findings=(replace(ENUMERATION, severity="low"), EMPTY))])
    forest = page[page.index("<h2>What scores high") : page.index("<h2>Scores of answers")]
    assert re.findall(r'<h3 class="t-(\w+)"><code>(\w+)</code>', forest) == [
        ("low", "enumeration"),
        ("high", "zero_width"),
        ("info", "opener"),
    ]
    assert re.findall(r'<div class="rate t-(\w+)( unsure)?">', forest)[0] == ("low", "")


def test_every_format_that_is_read_stands_alone():
    page = render_html([flawed_report()])
    assert [part for part in re.findall(r'<span class="chip">([^<]*)</span>', page) if "boxed" in part] == list(FORMATS)


def test_a_text_in_a_message_is_shown_as_it_is():
    finding = replace(EMPTY, message="“\\boxed{\\frac{8}{18}}” is paid.")
    page = render_html([replace(flawed_report(), findings=(finding,))])
    assert "“\\boxed{\\frac{8}{18}}” is paid." in words(page)
    assert "\\\\" not in words(page)


def test_both_themes_name_the_same_colors():
    style = re.search(r"<style>(.*?)</style>", render_html([flawed_report()]), flags=re.DOTALL)[1]
    light, dark = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)
    defined = [set(re.findall(r"(--[\w-]+):", part)) for part in (light, dark)]
    assert defined[0] == defined[1]
    assert all(
        re.fullmatch(r" #[0-9a-f]{6}", value)
        for part in (light, dark)
        for value in re.findall(r"--[\w-]+:([^;]*)", part)
    )
    rest = style.replace(light, "").replace(dark, "")
    assert not re.findall(r"#[0-9a-f]{3,6}\b", rest)


def test_a_notebook_shows_the_findings_as_a_table():
    table = flawed_report()._repr_html_()
    text = " ".join("".join(outline(table).text).split())
    expected = ["3 findings, worst: critical", "critical", "enumeration", "95% [82%, 99%]", "filler_gain", LENGTH.why]
    positions = [text.find(part) for part in expected]
    assert -1 not in positions
    assert positions == sorted(positions)
    assert "1 observation below medium" in text
    assert "<table>" not in clean_report()._repr_html_()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_changes_nothing_of_a_notebook_s_table(text):
    table = hostile_report(text)._repr_html_()
    shapes = [[(tag, sorted(attrs)) for tag, attrs in outline(page).tags if "mark" not in (attrs.get("class") or "")]
              for page in (table, hostile_report("harmless")._repr_html_())]  # fmt: skip
    assert shapes[0] == shapes[1]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", table)


def _figure():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1], [0, 1])
    return figure

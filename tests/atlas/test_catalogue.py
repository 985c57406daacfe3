"""The catalogue is complete, and what it says of progress comes from the pages."""

import re
from collections import Counter
from dataclasses import replace

import pytest

from rewardsmith.atlas import catalogue as catalogue_module
from rewardsmith.atlas import find_paper, load_catalogue, read_pages, search_catalogue, status_of
from rewardsmith.atlas.catalogue import TAGS, page_of, tagged


def test_the_catalogue_holds_papers_1_to_78_once_each():
    assert [paper.number for paper in load_catalogue()] == list(range(1, 79))


@pytest.mark.parametrize("field", ["identifier", "title", "name", "summary"])
def test_no_two_papers_share_an_entry(field):
    counts = Counter(getattr(paper, field) for paper in load_catalogue())
    assert counts.most_common(1)[0][1] == 1


def test_every_entry_is_filled_in_and_plausible():
    for paper in load_catalogue():
        assert re.fullmatch(r"\d{4}\.\d{5}", paper.identifier), paper
        submitted = 2000 + int(paper.identifier[:2])
        assert submitted <= paper.year <= submitted + 1, paper
        assert paper.url.endswith(paper.identifier)
        assert paper.authors
        assert paper.family
        assert 60 < len(paper.summary) < 200, paper
        assert paper.summary.endswith("."), paper


def test_every_page_belongs_to_a_paper_and_no_two_to_one():
    numbers = [page.paper for page in read_pages()]
    assert len(set(numbers)) == len(numbers)
    for number in numbers:
        assert page_of(find_paper(number)) is not None


def test_status_is_read_off_the_pages(monkeypatch):
    without = next(paper for paper in load_catalogue() if page_of(paper) is None)
    assert status_of(without) == "planned"
    found = page_of(find_paper(24))
    for falls_short, status in [((), "reproduced"), (("a part",), "partly")]:
        page = replace(found, falls_short=falls_short)
        monkeypatch.setattr(catalogue_module, "read_pages", lambda page=page: (page,))
        assert status_of(find_paper(24)) == status


def test_search_asks_for_every_word_and_looks_into_pages():
    assert [paper.number for paper in search_catalogue(["MIN-form"])] == [64]
    assert {paper.number for paper in search_catalogue(["ensembles"])} >= {6, 12}
    assert 39 in {paper.number for paper in search_catalogue(["backward_correction"])}  # named only on the page
    assert search_catalogue(["ensembles", "minecraft"]) == ()


def test_every_paper_has_tags_of_the_vocabulary_and_every_word_but_one_is_in_use():
    for paper in load_catalogue():
        for kind, known in TAGS.items():
            given = getattr(paper, kind)
            assert set(given) <= set(known), paper
            assert given or kind == "failure", paper
    used = {tag for paper in load_catalogue() for tag in paper.tags}
    assert {tag for known in TAGS.values() for tag in known} - used == {"brain-inspired"}


@pytest.mark.parametrize(
    ("kind", "given"), [("feedback", ["votes"]), ("failure", ["noise", "noise"]), ("paradigm", [])]
)
def test_a_tag_that_is_unknown_twice_or_missing_is_refused(kind, given):
    with pytest.raises(ValueError, match=rf"atlas: paper 39 has {kind} \[.*\]\. Choose from .*, each once"):
        replace(find_paper(39), **{kind: given})


def test_papers_are_found_by_all_tags_together_and_in_words():
    found = {paper.number for paper in tagged(load_catalogue(), ["noise", "binary verifier"])}
    assert {39, 27} <= found
    assert not found & {16, 38}  # one has the one tag, one the other
    assert len(tagged(load_catalogue(), [])) == 78
    assert 35 in {paper.number for paper in search_catalogue(["oversight", "harmlessness"])}
    with pytest.raises(ValueError, match="atlas: tag is 'loud', which is not one of"):
        tagged(load_catalogue(), ["loud"])


def test_an_unknown_number_is_refused():
    with pytest.raises(ValueError, match=r"atlas: there is no paper 79\. Numbers run from 1 to 78"):
        find_paper(79)

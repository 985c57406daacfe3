"""What is shown of untrusted text: everything, by name where it would not show by itself."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.work import lines_run

from rewardsmith.auditing.render.visible import Piece, plain, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "a b"),
        (" a  b ", "·a··b·"),
        ("a\n", "a↵"),
        ("a\tb", "a→b"),
        ("\u200b", "U+200B"),
        ("\u200b" * 40, "U+200B×40"),
        ("safe\u202egnp.exe", "safeU+202Egnp.exe"),
        ("\x1b[31mred", "U+001B[31mred"),
        ("\x00\r\x7f", "U+0000U+000DU+007F"),
        ("\ufeff42\u00a0", "U+FEFF42U+00A0"),
        ("4\ufe0f\u3164\u2800", "4U+FE0FU+3164U+2800"),
        ("\U000e0041", "U+E0041"),
        ("\ud800", "U+D800"),
        (" " * 1000, "·×1,000"),
        ("", ""),
    ],
)
def test_what_would_not_show_is_named(text, shown):
    assert plain(text, limit=2000) == shown


@given(st.text(alphabet=st.characters(), max_size=200))
def test_no_piece_holds_a_character_that_hides_or_reorders(text):
    shown = "".join(piece.text for piece in visible(text)).replace("\n", "")
    assert all(
        c == " " or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"} for c in shown
    )


@given(st.text(alphabet="ab 1.,", max_size=100).map(str.strip))
def test_ordinary_text_reads_as_it_is(text):
    single_spaced = " ".join(text.split())
    assert plain(single_spaced) == single_spaced


def test_line_breaks_stay_breaks_only_where_asked():
    assert visible("a\nb") == (Piece("a"), Piece("↵", "mark"), Piece("\n"), Piece("b")) or visible("a\nb") == (
        Piece("a"),
        Piece("↵", "mark"),
        Piece("\nb"),
    )
    assert "\n" not in plain("a\nb")


@pytest.mark.parametrize("look_alike", ["\uff14", "\u0664", "\U0001d7d2", "p\u0430y"[1] + "y", "\u03bfk"])
def test_look_alike_characters_are_told_apart(look_alike):
    assert visible(look_alike)[0].kind == "odd"


@pytest.mark.parametrize("ordinary", ["π", "привет", "ω", "é", "漢字"])
def test_other_alphabets_by_themselves_are_no_look_alikes(ordinary):
    assert [piece.kind for piece in visible(ordinary)] == ["plain"]


def test_a_megabyte_is_cut_in_the_middle_before_it_is_read_and_says_how_much():
    text, short = (f"first{'x' * n}last" for n in (1_000_000, 100_000))
    shown = plain(text, limit=1200)
    assert lines_run(lambda: plain(text, limit=1200)) == lines_run(lambda: plain(short, limit=1200))
    assert shown.startswith("first")
    assert shown.endswith("last")
    assert "998,809 characters left out" in shown  # 5 + 1,000,000 + 4 − 1200

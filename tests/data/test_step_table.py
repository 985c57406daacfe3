import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardsmith.advantages import step_returns
from rewardsmith.data import segment_steps, split_steps
from rewardsmith.worlds.arithmetic_lm import make_tokenizer

SENTENCES = [
    "First add the ones: 7 + 5 = 12.",
    "Carry the 1 😀 and go on.",
    "Hence ≈ 42 — naïve, but right 🎉🎉.",
    "第一步：加起来。",
    "So the answer is 42.",
]


def split_by_hand(text, separator, complete):
    """Pieces by walking the text character by character."""
    pieces, piece, at = [], "", 0
    while at < len(text):
        if text[at:].startswith(separator):
            pieces.append(piece)
            piece, at = "", at + len(separator)
        else:
            piece, at = piece + text[at], at + 1
    if complete:
        pieces.append(piece)
    return [piece for piece in pieces if piece.split()]


def ends_by_hand(ids, decode, separator, complete):
    """For each step the first prefix, tried one by one, whose text holds all text up to the step's end."""
    text, ends, reached = decode(ids), [], 0
    for piece in split_by_hand(text, separator, complete):
        reached = text.index(piece, reached) + len(piece)
        ends.append(next(t for t in range(len(ids)) if decode(ids[: t + 1]).startswith(text[:reached])))
    return ends


@pytest.fixture(scope="module")
def byte_level():
    """A byte-level BPE tokenizer with few merges, so that most characters beyond ASCII take several tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=len(alphabet) + 60, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["\n\n".join(SENTENCES)] * 3, trainer)
    return tokenizer


texts = st.lists(st.sampled_from([*SENTENCES, "", " ", "\n", "\n\n", "\n\n\n", "x"]), max_size=7).map("".join)


@pytest.mark.slow
@given(text=texts, complete=st.booleans())
def test_splitting_is_the_walk_through_the_text(text, complete):
    assert split_steps(text, complete=complete) == split_by_hand(text, "\n\n", complete)


@pytest.mark.parametrize(
    ("text", "complete", "wanted"),
    [
        ("", True, []),
        ("a", True, ["a"]),
        ("a", False, []),  # cut off within its first step
        ("a\n\nb", False, ["a"]),
        ("a\n\n", False, ["a"]),  # cut off right behind a separator: the step is whole
        ("\n\n  \n\na\n\n\n\n", True, ["a"]),  # empty pieces are no steps
        ("a\n\n\nb", True, ["a", "\nb"]),
    ],
)
def test_what_is_a_step(text, complete, wanted):
    assert split_steps(text, complete=complete) == wanted


def test_separators_of_several_kinds():
    assert split_steps("one. two. ", separator=". ") == ["one", "two"]
    assert split_steps("Step 1: a Step 2: b", separator="Step ") == ["1: a ", "2: b"]


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.sampled_from(SENTENCES), max_size=4), complete=st.booleans(), cut=st.integers(0, 5))
def test_bisection_finds_the_token_that_trying_each_prefix_finds(byte_level, parts, complete, cut):
    ids = byte_level.encode("\n\n".join(parts)).ids
    ids = ids[: len(ids) - cut]  # may end within a character
    table = segment_steps([ids], byte_level.decode, complete=[complete])
    got = [end for end, there in zip(table.step_ends[0], table.step_mask[0], strict=True) if there]
    assert got == ends_by_hand(ids, byte_level.decode, "\n\n", complete)


def test_a_step_that_ends_in_an_emoji_ends_with_its_last_byte(byte_level):
    ids = byte_level.encode("x🙂\n\ny").ids  # an emoji that no merge has seen
    ((first, second),) = segment_steps([ids], byte_level.decode).step_ends
    assert byte_level.decode(ids[: first + 1]).startswith("x🙂")
    assert "🙂" not in byte_level.decode(ids[:first])
    assert second == len(ids) - 1


def test_a_token_may_hold_a_step_and_its_separator():
    pieces = ["a", ".\n\n", "b.", "\n\nc", "\n\n", "d"]
    table = segment_steps([range(6)], lambda ids: "".join(pieces[i] for i in ids))
    assert table.step_ends == [[1, 2, 3, 5]]


def test_with_the_tokenizer_of_the_small_language_model():
    tokenizer = make_tokenizer()
    text = "so 12+7=\nthe answer is 19\nor 20"
    ids = tokenizer.encode(text)
    table = segment_steps([ids, ids[:-1], []], tokenizer.decode, separator="\n", complete=[True, False, True])
    assert table.steps == [["so 12+7=", "the answer is 19", "or 20"], ["so 12+7=", "the answer is 19"], []]
    assert table.step_mask == [[True, True, True], [True, True, False], [False, False, False]]
    for row, ends, mask in zip([ids, ids[:-1], []], table.step_ends, table.step_mask, strict=True):
        for end, there in zip(ends, mask, strict=True):
            assert not there or tokenizer.decode(row[: end + 1]).split("\n")[-1] in text.split("\n")
            assert there or end == 0
    assert table.step_ends[0][:2] == table.step_ends[1][:2]
    assert table.step_ends[0][2] == len(ids) - 1


def test_a_batch_without_a_step_still_makes_a_table():
    table = segment_steps([[], [72]], lambda ids: bytes(ids).decode(), complete=[True, False])
    assert table == ([[], []], [[0], [0]], [[False], [False]])
    returns = step_returns(torch.full((2, 1), torch.nan), torch.tensor(table.step_mask))
    assert bool(returns.isnan().all())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: split_steps("a", separator=""), "split_steps: separator is empty"),
        (lambda: segment_steps([[97]], lambda ids: "a", separator=""), "segment_steps: separator is empty"),
        (
            lambda: segment_steps([[97]], lambda ids: "a", complete=[True, True]),
            "segment_steps: got 1 completions and 2 complete flags",
        ),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()

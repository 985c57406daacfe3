"""Read preference pairs from the public data sets: one function per schema, with the meaning of its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, NamedTuple, get_args

from rewardsmith.data.contexts import ContextForm
from rewardsmith.data.preferences import TRAINING_COLUMNS, PreferenceRow
from rewardsmith.data.readers.conversations import (
    aspects,
    divided,
    is_filled,
    marked,
    messages,
    number,
    numbers,
    source_of,
    transcript,
    words,
)
from rewardsmith.data.readers.schema import Broken, Drop, Schema
from rewardsmith.data.rows import as_messages, text_of
from rewardsmith.types import Message, Text

Pairs = Literal["best_worst", "best_rest", "all"]


class Graded(NamedTuple):
    """An answer, its grade (higher is better), and its ratings by attribute."""

    text: Text
    grade: float
    ratings: Mapping[str, float]


def graded_pairs(prompt: Text, answers: Sequence[Graded], *, pairs: Pairs, source: str | None) -> list[PreferenceRow]:
    """Make pairs among several graded answers to one prompt; equal grades make ties when all pairs are wanted.

    Args:
        pairs: the best against the worst, the best against every other, or all pairs. All k(k−1)/2 pairs of a prompt
            belong in one split. A model overfits less if it sees them in one epoch than as separate prompts.
    """
    ordered = sorted(answers, key=lambda answer: -answer.grade)
    if len(ordered) < 2:
        raise Drop("fewer than two graded answers")
    if ordered[0].grade == ordered[-1].grade:
        raise Drop("all answers have the same grade")
    several = {"best_worst": [(ordered[0], ordered[-1])], "best_rest": [(ordered[0], a) for a in ordered[1:]]}
    return [
        PreferenceRow(
            prompt=prompt,
            chosen=better.text,
            rejected=worse.text,
            is_tie=better.grade == worse.grade,
            strength=better.grade - worse.grade or None,
            ratings={k: (v, worse.ratings[k]) for k, v in better.ratings.items() if k in worse.ratings},
            source=source,
        )
        for better, worse in several.get(pairs) or list(combinations(ordered, 2))
    ]


def ultrafeedback(record: Mapping[str, Any], *, pairs: Pairs = "best_worst") -> list[PreferenceRow]:
    """Read openbmb/UltraFeedback: `instruction`, `source`, and four `completions` with `annotations` per aspect.

    The grade is the mean of the aspects' numeric `Rating`s, 1 to 5. The published `overall_score` is not used, because
    some 10s were meant as 1s. `fine-grained_score`, the same mean, is used if no annotation can be read. An answer
    without either is left out.
    """
    answers = []
    for completion in record["completions"]:
        ratings = aspects(completion)
        grade = sum(ratings.values()) / len(ratings) if ratings else number(completion.get("fine-grained_score"))
        if grade is not None and completion.get("response"):
            answers.append(Graded(as_messages(str(completion["response"])), grade, ratings))
    return graded_pairs(as_messages(record["instruction"], "user"), answers, pairs=pairs, source=source_of(record))


def ultrafeedback_binarized(record: Mapping[str, Any]) -> list[PreferenceRow]:
    """Read HuggingFaceH4/ultrafeedback_binarized (splits train_prefs, test_prefs) and trl-lib/ultrafeedback_binarized:
    `chosen` and `rejected` conversations with `score_chosen` and `score_rejected`. Pairs with equal scores are ties,
    which their order hides."""
    prompt, chosen, rejected = divided(messages(record["chosen"]), messages(record["rejected"]))
    high, low = number(record["score_chosen"]), number(record["score_rejected"])
    margin = None if high is None or low is None else high - low
    row = PreferenceRow(prompt, chosen, rejected, is_tie=margin == 0, strength=margin or None,
                        prompt_id=record.get("prompt_id"))  # fmt: skip
    if margin is not None and margin < 0:
        raise Drop("the rejected answer has the higher score")
    return [row]


def hh_rlhf(record: Mapping[str, Any]) -> list[PreferenceRow]:
    """Read Anthropic/hh-rlhf: two whole transcripts, `chosen` and `rejected`, that share all but the last answer.

    The folders harmless-base, helpful-base, helpful-online and helpful-rejection-sampled are separate sets: from the
    hub use `hub={"data_dir": "helpful-base"}`.
    """
    prompt, chosen, rejected = divided(transcript(record["chosen"]), transcript(record["rejected"]))
    return [PreferenceRow(prompt, chosen, rejected, source=source_of(record))]


def nectar(record: Mapping[str, Any], *, pairs: Pairs = "best_worst") -> list[PreferenceRow]:
    """Read berkeley-nest/Nectar: `prompt`, a transcript that ends in "Assistant: ", and seven `answers` with a `rank`,
    1 the best. The strength of a pair is the difference in rank."""
    conversation = transcript(record["prompt"])
    if conversation[-1] == {"role": "assistant", "content": ""}:
        conversation = conversation[:-1]
    answers = [
        Graded(as_messages(str(a["answer"])), -rank, {})
        for a in record["answers"]
        if (rank := number(a.get("rank"))) is not None and a.get("answer")
    ]
    source = record.get("source")
    named = ", ".join(map(str, source)) if isinstance(source, list) else source
    return graded_pairs(conversation, answers, pairs=pairs, source=named)


def conversations(record: Mapping[str, Any]) -> list[PreferenceRow]:
    """Read Skywork/Skywork-Reward-Preference-80K-v0.2 and TRL's implicit-prompt sets: `chosen` and `rejected`
    conversations that share all but the last answer, and `source`."""
    prompt, chosen, rejected = divided(messages(record["chosen"]), messages(record["rejected"]))
    return [PreferenceRow(prompt, chosen, rejected, source=source_of(record), **_own(record))]


def explicit(record: Mapping[str, Any]) -> list[PreferenceRow]:
    """Read TRL's format and ours: `prompt`, `chosen`, `rejected`, each a string or messages, and any field of
    `PreferenceRow`. If the answers are whole conversations, the prompt is their common part. Other columns are kept."""
    prompt, chosen, rejected = (record[name] for name in ("prompt", "chosen", "rejected"))
    if not all(isinstance(text, str) for text in (prompt, chosen, rejected)):
        prompt, chosen = words(prompt, "prompt", "user"), words(chosen, "chosen", "assistant")
        rejected, n = words(rejected, "rejected", "assistant"), len(prompt)
        if len(chosen) > 1 and chosen[:-1] == rejected[:-1] and _turns(prompt) in _turns(chosen[:-1]):
            # Also with a system message before the prompt, or turns after it.
            prompt, chosen, rejected = chosen[:-1], chosen[-1:], rejected[-1:]
        else:  # a prompt repeated in the answers is removed from them
            chosen, rejected = (a[n:] if a[:n] == prompt and a[n:] else a for a in (chosen, rejected))
    rated = {k: both for k, both in (record.get("ratings") or {}).items() if both is not None and None not in both}
    ratings = {name: (float(a), float(b)) for name, (a, b) in rated.items()}
    names = ("context", "split", "prompt_id")
    given: dict[str, Any] = {name: record[name] for name in names if record.get(name) is not None}
    given |= {"source": source_of(record), "strength": number(record.get("strength"))}
    known = {*names, "source", "strength", *TRAINING_COLUMNS, "prompt", "chosen", "rejected", "ratings"}
    columns = {name: value for name, value in record.items() if name not in known}
    return [PreferenceRow(prompt, chosen, rejected, ratings=ratings, columns=columns, **given, **_own(record))]


def _turns(conversation: Sequence[Message]) -> str:
    return "".join(f"\0{message['role']}\0{text_of([message]).strip()}\0" for message in conversation)


def _own(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the training columns of a record."""
    own: dict[str, Any] = {name: number(record.get(name)) for name in ("margin", "weight", "soft_label")}
    return own | {"is_tie": str(record.get("is_tie")).lower() in ("true", "1", "1.0")}


def rpr(record: Mapping[str, Any], *, form: ContextForm = "criteria") -> list[PreferenceRow]:
    """Read microsoft/rpr: `response_a` is better under `criteria_x` (or `scenario_x`), `response_b` under `…_y`.

    Pitis et al. 2024, arXiv:2407.14916 (Reasonable Preference Reversal): a model that ignores the context is right on
    exactly half of the rows. Both rows of a record share a `prompt_id` and belong in one split; otherwise the held-out
    rows hold responses with a known order. Unsure: only some field names are in its card's summary; `prompt`,
    `response_a`, `response_b`, `criteria_x`, `criteria_y`, `scenario_x` and `scenario_y` are assumed.

    Args:
        form: the context to use: a short criterion, or a longer scenario.
    """
    prompt = words(record["prompt"], "prompt", "user")
    a, b = (words(record[name], name, "assistant") for name in ("response_a", "response_b"))
    x, y = (text_of(record[name]) for name in (f"{form}_x", f"{form}_y"))
    if x == y:
        raise Drop("two equal contexts")
    key = "\n".join(map(text_of, (prompt, a, b)))
    return [
        PreferenceRow(prompt, chosen, rejected, context=context, prompt_id=key)
        for context, chosen, rejected in ((x, a, b), (y, b, a))
    ]


def strength_from_annotators(
    votes: Sequence[float], *, most_similar: int = 3, drop_if_range: float | None = None
) -> float | None:
    """Return one signed strength from several votes: the mean of the most similar ones.

    Wang et al. 2024, arXiv:2410.01257: of three to five votes from −3 to 3 the three most similar are averaged, and
    pairs with disagreement are dropped.

    Args:
        drop_if_range: return None if those votes still span more than this.

    >>> strength_from_annotators([-3, 1, 2, 2]), strength_from_annotators([-3, 0, 3], drop_if_range=1)
    (1.6666666666666667, None)
    """
    if not votes:
        return None
    ordered, width = sorted(votes), min(most_similar, len(votes))
    windows = [ordered[i : i + width] for i in range(len(ordered) - width + 1)]
    closest = min(windows, key=lambda window: window[-1] - window[0])
    disagree = drop_if_range is not None and closest[-1] - closest[0] > drop_if_range
    return None if disagree else sum(closest) / width


def helpsteer2_preference(record: Mapping[str, Any], *, drop_if_range: float | None = None) -> list[PreferenceRow]:
    """Read nvidia/HelpSteer2, `hub={"data_dir": "preference"}`: `preference_strength` from −3 (response 1 is much
    better) to 3 (response 2 is), never 0; `split` inside the record.

    Args:
        drop_if_range: drop pairs whose votes in `three_most_similar_preferences` (field `strength`) span more.
    """
    votes = [number(vote.get("strength")) for vote in record.get("three_most_similar_preferences") or []]
    return _signed(record, marked(record["prompt"]), record["response_1"], record["response_2"],
                   record["preference_strength"], votes, drop_if_range=drop_if_range)  # fmt: skip


def helpsteer3(record: Mapping[str, Any], *, drop_if_range: float | None = None) -> list[PreferenceRow]:
    """Read nvidia/HelpSteer3's preferences: `context` is the conversation; `overall_preference` from −3 (response 1 is
    much better) to 3, where 0, about the same, is a tie; `individual_preference` has the votes' `score`s."""
    votes = [number(vote.get("score")) for vote in record.get("individual_preference") or []]
    prompt = messages(record["context"])
    return _signed(record, prompt, record["response1"], record["response2"], record["overall_preference"], votes,
                   drop_if_range=drop_if_range)  # fmt: skip


def _signed(record: Mapping[str, Any], prompt: Text, first: str, second: str, value: Any,
            votes: Sequence[float | None], *, drop_if_range: float | None) -> list[PreferenceRow]:  # fmt: skip
    """Make a pair from a signed strength, which is negative if the first answer is better."""
    strength = number(value)
    if strength is None:
        raise Drop("no preference strength")
    known = [vote for vote in votes if vote is not None]
    if drop_if_range is not None and known and strength_from_annotators(known, drop_if_range=drop_if_range) is None:
        raise Drop("the annotators disagree")
    chosen, rejected = (second, first) if strength > 0 else (first, second)
    names = [record.get(name) for name in ("domain", "language")]
    source = "/".join(str(name) for name in names if name) or None
    answers = as_messages(chosen), as_messages(rejected)
    return [PreferenceRow(prompt, *answers, is_tie=strength == 0, strength=abs(strength) or None, source=source,
                          split=record.get("split"))]  # fmt: skip


Attribute = Literal["helpfulness", "correctness", "coherence", "complexity", "verbosity"]
HELPSTEER = get_args(Attribute)


def helpsteer2_pairs(records: Sequence[Mapping[str, Any]], *, attribute: Attribute = "helpfulness",
                     pairs: Pairs = "best_worst") -> list[PreferenceRow]:  # fmt: skip
    """Make pairs from nvidia/HelpSteer2's ratings, 0 to 4, by one attribute; records of one prompt are consecutive."""
    answers = []
    for record in records:
        ratings = numbers({name: record.get(name) for name in HELPSTEER})
        if attribute in ratings:
            answers.append(Graded(as_messages(record["response"]), ratings[attribute], ratings))
    return graded_pairs(marked(records[0]["prompt"]), answers, pairs=pairs, source=None)


def check(row: PreferenceRow) -> None:
    """Drop a pair with no difference or an empty answer."""
    if not is_filled(row.chosen) or not is_filled(row.rejected):
        raise Broken("an empty answer")
    if row.context is not None and not is_filled(row.context, "`context`"):
        raise Broken("an empty `context`")
    if row.chosen == row.rejected:
        raise Drop("both answers are the same")


PREFERENCE_SCHEMAS: tuple[Schema[PreferenceRow], ...] = (
    Schema("ultrafeedback", frozenset({"instruction", "completions"}), ultrafeedback),
    Schema("ultrafeedback_binarized", frozenset({"chosen", "rejected", "score_chosen", "score_rejected"}),
           ultrafeedback_binarized),
    Schema("helpsteer3", frozenset({"context", "response1", "response2", "overall_preference"}), helpsteer3),
    Schema("helpsteer2_preference", frozenset({"prompt", "response_1", "response_2", "preference_strength"}),
           helpsteer2_preference),
    Schema("helpsteer2_ratings", frozenset({"prompt", "response", "helpfulness"}), helpsteer2_pairs, joined="prompt"),
    Schema("nectar", frozenset({"prompt", "answers"}), nectar,
           test=lambda record: all(isinstance(a, Mapping) and "rank" in a for a in list(record["answers"] or [None]))),
    Schema("rpr", frozenset({"prompt", "response_a", "response_b", "criteria_x"}), rpr),
    Schema("explicit", frozenset({"prompt", "chosen", "rejected"}), explicit,
           test=lambda record: all(record[name] is not None for name in ("prompt", "chosen", "rejected"))),
    Schema("hh_rlhf", frozenset({"chosen", "rejected"}), hh_rlhf,
           test=lambda record: isinstance(record["chosen"], str) and "prompt" not in record),
    Schema("conversations", frozenset({"chosen", "rejected"}), conversations,
           test=lambda record: not isinstance(record["chosen"], str) and "prompt" not in record),
)  # fmt: skip

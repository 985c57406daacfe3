"""Letters, texts, formats and JSON documents."""

import pickle
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardsmith.rewards import exact_text, json_schema, matches_format, multiple_choice, think_format
from rewardsmith.rewards.verifiers.answers import plain_text

CARRIERS = [
    "{}",
    "The answer is {}.",
    r"\boxed{{{}}}",
    "#### {}",
    "<answer>{}</answer>",
    "Answer: {}",
    "**{}**",
    "${}$",
]
SCHEMA = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "n": {"type": "number"}}}


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("form", ["B", "b", "(B)", "B:", "B)", "option B", r"\text{B}", r"\textbf{(B)}", "B) Paris"])
def test_one_committed_letter_is_accepted_in_every_carrier_and_another_in_none(carrier, form):
    text = carrier.format(form)
    assert multiple_choice([text, text], ["B", "C"]) == [1.0, 0.0]


def test_no_attack_on_the_key_b_is_paid():
    attacks = [
        "",
        ".",
        "A or B",
        "A, B",
        "AB",
        "BB",
        "B C",
        "B) x C) y",
        "B) or C",
        "not B",
        "ABCDEFGHIJ",
        "В",
        "ß",
        "𝐁",
    ]
    attacks += [
        "B\u200b",
        r"\boxed{A} B",
        r"\boxed{B} \boxed{C}",
        "Answer: A\nAnswer: B",
        "all of the above",
        "解",
        "Ｂ",
    ]
    attacks += ["<!-- B -->", "<think>B</think>", "B and C", "Because", "any of A-J", r"\boxed{}", "B / D", "(B)(C)"]
    assert [a for a in attacks if multiple_choice([a], ["B"]) != [0.0]] == []


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{(B) 12}",
        r"\boxed{B: it grows with age}",
        "The answer is B. Note that A is a common trap.",
        "The best answer is B.",
        "So the correct option is **B**.",
        "The right choice is (B).",
        "The answer is (B) 12. C and D are wrong.",
        "Answer: B) the trap. A fails at x = 0.",
        "The right answer is option B. This is a known result.",
    ],
)
def test_the_text_of_an_option_and_a_remark_that_rules_others_out_name_one_option(text):
    assert multiple_choice([text] * 4, ["B", "A", "C", "D"]) == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "text",
    [
        "The answer is B. Or A.",
        "The answer is B. No, A.",
        "The answer is B. Wait, A is not wrong.",
        "The answer is B. A is right too.",
        "The answer is B. B is wrong.",
        "The answer is (B) (C).",
        "The answer is B. A is not wrong, or C.",
    ],
)
def test_a_remark_that_names_another_option_or_takes_the_letter_back_leaves_no_answer(text):
    assert multiple_choice([text] * 3, ["B", "A", "C"]) == [0.0, 0.0, 0.0]


def test_a_dotless_i_is_not_the_letter_i():
    assert "ı".upper() == "I"  # the trap
    assert multiple_choice(["ı", "i"], ["I", "I"]) == [0.0, 1.0]


def test_letters_outside_the_options_are_no_answers_and_no_keys():
    assert multiple_choice(["E", "E"], ["E", "D"], letters="ABCD") == [None, 0.0]


@pytest.mark.parametrize("letters", ["", "AA", "A1", "АБ"])
def test_letters_that_are_not_distinct_ascii_letters_are_refused(letters):
    with pytest.raises(ValueError, match=r"multiple_choice: letters is .* Pass the option letters"):
        multiple_choice(["A"], ["A"], letters=letters)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_the_text_is_accepted_in_every_carrier_and_a_neighbor_in_none(carrier):
    near = ["New Yorks", "New", "xNew York", "New York or Rome", "NewYork", "Nеw York", "New\u200b York", "Ｎew York"]
    assert exact_text([carrier.format("New York")], ["new  york."]) == [1.0]
    assert exact_text([carrier.format(n) for n in near], ["New York"] * len(near)) == [0.0] * len(near)


def test_unicode_is_compared_composed_but_never_by_looks():
    assert exact_text(["cafe\u0301"], ["caf\u00e9"]) == [1.0]  # NFC: the same text
    assert exact_text(["4²", "ſtop", "ﬁn", "straße"], ["42", "stop", "fin", "strasse"]) == [0.0] * 4


def test_case_counts_when_asked_and_keys_of_several_lines_are_compared_whole():
    strict = partial(exact_text, fold_case=False)
    assert strict(["paris", "Paris"], ["Paris", "Paris"]) == [0.0, 1.0]
    assert exact_text(["1 2\n3 4", "1 2\n3 5", "x\n1 2\n3 4"], ["1 2\n3 4"] * 3) == [1.0, 0.0, 0.0]
    assert exact_text(["x"] * 3, ["", None, " . "]) == [None, None, None]


def test_the_format_needs_content_in_every_named_group():
    pattern = r"<think>(?P<thought>.*)</think>\s*<answer>(?P<answer>.*)</answer>"
    texts = ["<think>2+2\nis</think>\n<answer>4</answer>", "<think></think><answer>4</answer>"]
    texts += ["<think> . </think><answer>4</answer>", "<think>x</think><answer>\u200b</answer>", "x", ""]
    texts += ["<think>\u3164</think><answer>4</answer>", r"<think>x</think><answer>\boxed{}</answer>"]
    assert matches_format(texts, pattern=pattern) == [1.0, *[0.0] * 7]


def test_catastrophic_backtracking_is_cut_off_and_a_bad_pattern_is_refused():
    assert matches_format(["a" * 40 + "!", "a" * 200_000], pattern="((a+)+)+b", time_limit=0.05) == [0.0, 0.0]
    with pytest.raises(ValueError, match=r"matches_format: pattern '\(' is not a regular expression .* Correct"):
        matches_format(["x"], pattern="(")


def test_think_format_wants_one_thought_and_an_answer_in_that_order():
    right = ["<think>2+2</think>4", "<think>2+2</think>\n<answer>4</answer>", r" <think>x</think> \boxed{4} "]
    wrong = ["", "<think></think>4", "<think> \n</think>4", "<think>x</think>", "<think>x</think> .", "4", "<think>x 4"]
    wrong += ["x<think>y</think>4", "<think>x</think><think>y</think>4", "</think>x<think>4", "<think>...</think>4"]
    wrong += ["<think>x</think><answer> </answer>", r"<think>x</think>so \boxed{}", "<think>x</think></think>4"]
    assert think_format(right) == [1.0] * 3
    assert think_format(wrong) == [0.0] * len(wrong)
    assert think_format(["2+2</think>4", "<think>2+2</think>4"], prefilled=True) == [1.0, 0.0]


def channels(*messages):
    """gpt-oss's syntax, as the guide of its format gives it, with the special tokens kept."""
    return "<|start|>assistant".join(f"<|channel|>{name}<|message|>{text}<|end|>" for name, text in messages)


def test_think_format_reads_channels_and_fields_of_servers():
    right = [
        channels(("analysis", "2+2"), ("final", "4")),
        channels(("analysis", "2+2"), ("analysis", "is 4"), ("final", "4")).removesuffix("<|end|>") + "<|return|>",
        "<|start|>assistant" + channels(("analysis", "2+2"), ("final", "4")).removesuffix("<|end|>"),
    ]
    wrong = [
        channels(("final", "4")),
        channels(("analysis", "2+2")),
        channels(("final", "4"), ("analysis", "2+2")),
        channels(("analysis", " "), ("final", "4")),
        channels(("analysis", "2+2"), ("final", r"\boxed{}")),
        channels(("analysis", "2+2"), ("final", "4"), ("final", "5")),
        channels(("analysis", "2+2"), ("final", "4")) + " or 5",
        channels(("analysis", "2+2"), ("secret", "x"), ("final", "4")),
        "analysis2+2assistantfinal4",  # without the special tokens, nothing tells the parts apart
    ]
    assert think_format(right) == [1.0] * len(right)
    assert [text for text in wrong if think_format([text]) != [0.0]] == []
    for field in ("reasoning_content", "reasoning", "thinking"):
        answers = ("4", "", "<think>x</think>4</think>")
        said = [[{"role": "assistant", "content": answer, field: "2+2"}] for answer in answers]
        assert think_format(said) == [1.0, 0.0, 0.0]
    assert think_format([[{"role": "assistant", "content": "4", "reasoning_content": " "}]]) == [0.0]


def test_only_the_final_channel_is_the_answer_of_a_verifier():
    texts = [
        channels(("analysis", "Paris?"), ("final", "Rome")),
        channels(("analysis", "Rome")),
        channels(("final", "Rome"), ("final", "Paris")),
        channels(("commentary", "Rome"), ("final", "Paris")),
    ]
    assert exact_text(texts, ["Rome"] * 4) == [1.0, 0.0, 0.0, 0.0]
    boxed = channels(("analysis", "B"), ("final", r"The answer is \boxed{A}."))
    assert multiple_choice([boxed] * 2, ["A", "B"]) == [1.0, 0.0]


def test_a_tool_call_is_one_document_in_its_mark_and_nothing_else():
    call = '{"name": "search", "n": 2}'
    strict = partial(json_schema, schema=SCHEMA, tool_call=True)
    right = [
        f"<tool_call>\n{call}\n</tool_call>",
        f"<think>Look it up.</think>\n<tool_call>{call}</tool_call><|im_end|>",
        f"<|python_tag|>{call}<|eom_id|>",
        f"[TOOL_CALLS] [{call}]",
    ]
    wrong = [
        call,
        f"```json\n{call}\n```",
        f"Sure. <tool_call>{call}</tool_call>",
        f"<tool_call>{call}</tool_call><tool_call>{call}</tool_call>",
        f"<tool_call>{call}",
        "<tool_call></tool_call>",
        '<tool_call>{"n": 2}</tool_call>',
        '<tool_call>{"name": ""}</tool_call>',
        '<tool_call>{"name": "a", "name": "b"}</tool_call>',
        f"[TOOL_CALLS] [{call}, {call}]",
        "[TOOL_CALLS] []",
        f"<|python_tag|>{call} {call}",
        f"<think><tool_call>{call}</tool_call></think>",
    ]
    assert strict(right) == [1.0] * len(right)
    assert [text for text in wrong if strict([text]) != [0.0]] == []
    assert json_schema([right[0], call + "<|im_end|>"], schema=SCHEMA) == [0.0, 1.0]


def test_one_strict_document_is_accepted_bare_fenced_or_after_thinking():
    document = '{"name": "Ada", "n": 1.5}'
    texts = [document, f"```json\n{document}\n```", f"```\n{document}\n```", f"<think>x</think>\n{document}\n"]
    assert json_schema(texts, schema=SCHEMA) == [1.0] * 4


def test_loose_json_is_refused():
    texts = ["", "x", "{}", '{"name": 1}', '{"name": "a", "name": "b"}', '{"name": "a", "n": NaN}', '{"name": ""}']
    texts += [
        '{"name": "a", "n": Infinity}',
        '{"name": "a", "n": 1e999}',
        '{"name": "a"} {"name": "a"}',
        '{"name": " "}',
    ]
    texts += [
        'Here: {"name": "a"}',
        '```json\n{"name": "a"}\n```\nDone',
        "{'name': 'a'}",
        '{"name": "a",}',
        "[" * 10**5,
    ]
    texts += [
        '{"name": "a", "n": ' + "9" * 5000 + "}",
        '{"name": "a"}\n```',
        '```json\n{"name": "a"}\n```\n```\n1\n```',
    ]
    assert [t[:40] for t in texts if json_schema([t], schema=SCHEMA) != [0.0]] == []


@pytest.mark.parametrize("words", [{"minLength": 0}, {"enum": ["", "x"]}, {"const": ""}])
def test_a_blank_string_passes_where_the_schema_says_so(words):
    assert json_schema(['""'], schema={"type": "string"}) == [0.0]
    assert json_schema(['""'], schema={"type": "string", **words}) == [1.0]


def test_a_schema_that_is_none_is_refused_before_any_row():
    with pytest.raises(ValueError, match=r"json_schema: schema is not a JSON Schema .* Correct it there"):
        json_schema([], schema={"type": "objekt"})
    with pytest.raises(ValueError, match=r"json_schema: schema refers to '#/\$defs/x', which it does not hold"):
        json_schema([], schema={"$ref": "#/$defs/x"})
    with pytest.raises(
        ValueError, match=r"json_schema: schema refers to 'https://.*' which it does not|refers to 'https"
    ):
        json_schema([], schema={"$ref": "https://example.com/schema"})
    with pytest.raises(ValueError, match=r"json_schema: schema is not JSON .* Pass a JSON Schema as a dict"):
        json_schema([], schema={"enum": {1, 2}})


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=40) | st.text(alphabet='{}[]":,0123eE.-ntrufals\\<>/kihBA) \n', max_size=60))
def test_nothing_a_policy_writes_raises(text):
    verdicts = [
        multiple_choice([text], ["B"]),
        exact_text([text], ["key"]),
        matches_format([text], pattern="(?P<a>.*):(?P<b>.*)"),
        think_format([text]),
        json_schema([text], schema=SCHEMA),
    ]
    assert all(verdict in ([0.0], [1.0]) for verdict in verdicts)


def test_every_verifier_pickles_as_a_partial_and_takes_any_form_of_completion():
    chat, none = [{"role": "assistant", "content": "x"}], [{"role": "assistant", "content": None}]
    for reward in (
        partial(multiple_choice, letters="ABCD"),
        partial(exact_text, normalize=plain_text),
        partial(matches_format, pattern="x+"),
        partial(think_format, prefilled=True),
        partial(json_schema, schema=SCHEMA),
    ):
        again = pickle.loads(pickle.dumps(reward))
        completions = [chat, none, None, "x", [{"content": [{"type": "image"}]}]]
        scores = again(completions=completions, answer=["A"] * 5, prompts=["?"] * 5)
        assert scores == reward(completions=completions, answer=["A"] * 5)
        assert len(scores) == 5

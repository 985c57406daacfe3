"""A broken file is an error that names the file, the place and the remedy, at either command; a whole one is read."""

import csv
import gzip
import io
import json
import os
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rewardsmith.cli import app
from rewardsmith.data import files, read_rows
from rewardsmith.errors import RowsError

LINE = '{"prompt": "2+5?", "completion": "\\\\boxed{7}", "answer": "7"}\n'
CSV = "prompt,completion,answer\n2+5?,7,7\n"


def lines(n):
    return "".join(LINE.replace("2+5?", f"What is 2+5? {k}") for k in range(n))


def deep(levels):
    return '{"prompt": "p", "completion": "c", "x": ' + "[" * levels + "]" * levels + "}\n"


def damaged(content):
    middle = len(content) // 2
    return content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 20]) + content[middle + 20 :]


def parquet(**options):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([json.loads(LINE)] * 500), buffer, **options)
    return buffer.getvalue()


BROKEN = [
    ("a.jsonl", lines(2).encode() + b'{"prompt": "\xff"}\n', r"line 3 of .*a\.jsonl is not UTF-8 \(byte 0xff at char"),
    ("a.jsonl", LINE.encode("utf-16"), r"a\.jsonl is not UTF-8 but looks like UTF-16\. Save the file as UTF-8"),
    ("a.csv", CSV.encode("utf-16-be"), r"a\.csv is not UTF-8 but looks like UTF-16\. Save"),
    (
        "a.csv",
        CSV.replace("2+5?", "né?").encode("latin-1"),
        r"line 2 of .*a\.csv is not UTF-8 \(byte 0xe9 at character 2",
    ),
    ("a.json", b'[{"prompt": "\xe9"}]', r"line 1 of .*a\.json is not UTF-8 .*Save the file as UTF-8"),
    (
        "a.jsonl.gz",
        gzip.compress(lines(2000).encode())[:-600],
        r"a\.jsonl\.gz is not gzip, or it is damaged after l",
    ),
    (
        "a.jsonl.gz",
        damaged(gzip.compress(lines(500).encode())),
        r"a\.jsonl\.gz is (not gzip, or it is damaged after|not JSON|not UTF-8)",
    ),
    (
        "a.jsonl.gz",
        LINE.encode(),
        r"a\.jsonl\.gz is not gzip, .*after line 0 .*Download or write it again, or u",
    ),
    ("a.json.gz", b"", r"a\.json\.gz is not JSON"),
    (
        "a.jsonl",
        (LINE + deep(900)).encode(),
        r"line 2 of .*a\.jsonl is nested more than 200 levels deep\. Keep such a v",
    ),
    ("a.jsonl", deep(100_000).encode(), r"line 1 of .*a\.jsonl is nested more than 200 levels deep"),
    ("a.json", b"[" + deep(300).encode() + b"]", r"a\.json is nested more than 200 levels deep"),
    (
        "a.jsonl",
        ('{"prompt": 1' + "0" * 5000 + "}").encode(),
        r"line 1 of .*holds an integer of too many .*Write it as a",
    ),
    ("a.json", ('[{"prompt": 1' + "0" * 5000 + "}]").encode(), r"a\.json holds an integer of too many digits"),
    ("a.parquet", damaged(parquet(compression="snappy")), r"a\.parquet is not Parquet, or damaged after row 0 "),
    (
        "a.parquet",
        parquet()[:-200],
        r"a\.parquet is not Parquet, or damaged after row 0 .*Write it again, or use a \.jso",
    ),
    ("a.jsonl", b"\n \n", r"a\.jsonl holds no rows"),
    ("a.csv", CSV.splitlines()[0].encode(), r"a\.csv holds no rows"),
    ("a.parquet", b"", r"a\.parquet is not Parquet, or damaged after row 0"),
    ("a.json", b"{}", r"a\.json holds a dict\. It must be one list of objects"),
    ("a.json", b"[1]", r"row 1 of .*a\.json is a int\. It must be an object with a `prompt`"),
    ("a.jsonl", LINE.encode() + b"[1]\n", r"row 2 of .*a\.jsonl is a list\. It must be an object with a `prompt`"),
    ("a.jsonl", LINE.encode() + b"null\n", r"row 2 of .*a\.jsonl is a NoneType\. It must be an object"),
    ("a.jsonl", LINE.encode() + b"\0" * 9, r"line 2 of .*a\.jsonl is not JSON .*Each line must be one object"),
    ("a.jsonl", json.dumps(json.loads(LINE), indent=1).encode(), r"line 1 of .*a\.jsonl is not JSON"),
    ("a.jsonl", b'{"prompt": 5, "completion": "7"}\n', r"row 1 of .*a\.jsonl has no usable `prompt`"),
    ("a.jsonl", b'{"prompt": [], "completion": "7"}\n', r"row 1 of .*a\.jsonl has no usable `prompt`"),
    ("a.csv", CSV.replace(",", ";").encode(), r"row 1 of .*a\.csv has no usable `prompt` .*Name the column that"),
    (
        "a.csv",
        (CSV + "2+5, and?,7,7\n").encode(),
        r"line 3 of .*a\.csv has 4 fields, the header has 3\. Quote the field",
    ),
    (
        "a.csv",
        (CSV + "2+5?,7\n").encode(),
        r"line 3 of .*a\.csv has 2 fields, the header has 3\. Leave a missing field e",
    ),
    ("a.csv", (CSV + '2+5?,"7,7\n' + "a,7,7\n" * 50 + 'b,7",7\n').encode(), r"line 3 of .*a\.csv begins a row of 52 l"),
    (
        "a.csv",
        (CSV + '2+5?,"7,7\n' + "a,7,7\n" * 3).encode(),
        r"the row that begins in line 3, is not CSV \(unexpected e",
    ),
    ("a.csv", (CSV + '2+5?,"7" x,7\n').encode(), r"line 3 of .*a\.csv, .* is not CSV .*take out a stray one, or use"),
    ("a.csv", b'prompt,answer\n"2+5?,7\n' + b"\x00" * 10, r"the row that begins in line 2, is not CSV"),
    (
        "a.jsonl",
        gzip.compress(LINE.encode()),
        r"a\.jsonl is not text but gzipped\. Unzip it, or name a \.jsonl or \.json",
    ),
    (
        "a.csv",
        b'prompt,completion,"answer\n2+5?,7,7\n3?,8,8"\n4?,4,4\n',
        r"the header of .*a\.csv spans 3 lines\. Take o",
    ),
    ("a.csv", b"PK\x03\x04\0\0", r"a\.csv is not text but a zip archive\. Unzip it\."),
    ("a.json", parquet(), r"a\.json is not text but Parquet\. Name it \.parquet\."),
    ("a.xlsx", b"PK", r"a\.xlsx ends in '\.xlsx', which is none of .*Convert it to one"),
    ("a.jsonl", lines(1499).encode() + b'{"completion": "c"}\n', r"row 1500 of .*a\.jsonl has no usable `prompt`"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "message"), BROKEN, ids=[f"{k}-{case[0]}" for k, case in enumerate(BROKEN)]
)
def test_both_commands_and_the_library_name_file_place_and_remedy(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RowsError, match=message):
        read_rows(path)
    reward, out = "rewardsmith.rewards:math_equal", tmp_path / "out.jsonl"
    for command in (["score", path, "--reward", reward, "--out", out], ["audit", reward, path]):
        done = CliRunner().invoke(app, [str(part) for part in command])
        assert (done.exit_code, done.stdout) == (2, ""), done.output
        assert done.stderr.startswith("Error: ")
        assert done.stderr.count(name) == 1, done.stderr  # said once
    assert not out.exists()


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.jsonl.gz"])
def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path, name):
    text = {"a.json": f"[{LINE}]", "a.csv": CSV}.get(name, LINE)
    content = text.encode("utf-8-sig")
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    (row,) = read_rows(tmp_path / name)
    assert (row.prompt, row.answer) == ("2+5?", "7")


@pytest.mark.slow
def test_a_csv_field_may_be_longer_than_the_csv_module_allows_by_default(tmp_path):
    long = "x, \n" * 50_000
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["prompt", "answer"], [long, "7"]])
    (row,) = read_rows(tmp_path / "a.csv")
    assert (row.prompt, row.answer) == (long, "7")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_lines_may_end_as_on_any_machine(tmp_path, name, end):
    text = CSV + "é?,8,8\n" if name == "a.csv" else LINE + '{"prompt": "é?"}\n'
    (tmp_path / name).write_bytes(text.replace("\n", end).encode())
    assert [row.prompt for row in read_rows(tmp_path / name)] == ["2+5?", "é?"]


def test_a_line_that_is_too_long_is_refused_before_it_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_CHARS", 1000)
    monkeypatch.setattr(files._lines, "__kwdefaults__", {"newline": None, "most": 1000})
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((LINE + '{"prompt": "' + "a" * 10**6 + '"}').encode()))
    with pytest.raises(RowsError, match=r"line 2 of .*a\.jsonl\.gz is longer than 1,000 characters\. Check that the f"):
        read_rows(tmp_path / "a.jsonl.gz")


def test_as_deep_as_is_allowed_and_lone_surrogates_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_text(deep(190) + '{"prompt": "\\ud83d"}\n')
    assert [row.prompt for row in read_rows(tmp_path / "a.jsonl")] == ["p", "\ud83d"]


@pytest.mark.slow
def test_any_flipped_byte_of_a_parquet_file_gives_rows_or_an_error_that_names_it(tmp_path):
    content = parquet(compression="none", write_page_checksum=True)
    path = tmp_path / "a.parquet"
    for place in range(0, len(content), max(1, len(content) // 60)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
        try:
            assert len(read_rows(path)) > 0
        except RowsError as error:
            assert "a.parquet" in str(error)  # noqa: PT017


@pytest.mark.parametrize("kind", ["pipe", "link to nothing", "link to itself", "folder without files", "missing"])
def test_what_is_no_file_is_refused_by_both_commands_and_never_waited_for(tmp_path, kind):
    path = tmp_path / "a.jsonl"
    if kind == "pipe":
        os.mkfifo(path)
    if kind.startswith("link"):
        path.symlink_to("nowhere" if kind == "link to nothing" else path)
    if kind.startswith("folder"):
        path.mkdir()
    reward = "rewardsmith.rewards:math_equal"
    for command in (["score", path, "--reward", reward, "--out", tmp_path / "o.jsonl"], ["audit", reward, path]):
        done = CliRunner().invoke(app, [str(part) for part in command])
        assert done.exit_code == 2
        assert re.match(
            r"Error: .*(there is no file .*a\.jsonl\. Give a|a\.jsonl holds no data .*Pass the f)", done.stderr
        )


NAMES = ("self", "prompts", "completions", "completion_ids", "columns", "log_extra", "trainer_state", "__class__",
         "", "a b", "<script>", "\\u001b[31m")  # fmt: skip
ODD = {
    "blank.jsonl": "\n" + LINE + "\n \n" + LINE.strip(),
    "separators.jsonl": LINE.replace("2+5?", "a\u2028b\u2029c\x85d"),
    "nul.jsonl": LINE.replace("2+5?", "a\\u0000b"),
    "nul.csv": CSV.replace("2+5?", "a\0b"),
    "twice.jsonl": LINE.replace('"prompt"', '"prompt": "other", "prompt"'),
    "names.jsonl": LINE.replace("{", "{" + ", ".join(f'"{name}": "x"' for name in NAMES) + ", ", 1),
    "types.jsonl": LINE + LINE.replace('"7"', "7").replace("2+5", "3+4") + LINE.replace('"7"', "7.0"),
    "twice.csv": CSV.replace("prompt,", "prompt,prompt,").replace("2+5?,", "x,2+5?,"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_and_can_be_read_is_scored(tmp_path, name):
    (tmp_path / name).write_text(ODD[name], encoding="utf-8", newline="")
    out, reward = tmp_path / "out.jsonl", "rewardsmith.rewards:math_equal"
    done = CliRunner().invoke(
        app, ["score", str(tmp_path / name), "--reward", reward, "--out", str(out), "--workers", "0"]
    )
    assert done.exit_code == 0, done.output
    scored = [json.loads(line) for line in out.read_text(encoding="utf-8").split("\n")[:-1]]
    assert [row["reward"] for row in scored] == [1.0] * len(read_rows(tmp_path / name))
    assert len(scored) == sum(map(bool, map(str.strip, ODD[name].split("\n")))) - name.endswith("csv")


def test_a_csv_quote_that_may_have_swallowed_a_row_or_two_is_warned_of_once(tmp_path, caplog):
    (tmp_path / "a.csv").write_text(CSV + '2+5?,"7,7\n3+4?,7",7\n8?,8,8\n' + 'a,"7,7\nb,7",7\n')
    for _ in range(2):
        assert len(read_rows(tmp_path / "a.csv")) == 4
    (said,) = [record.getMessage() for record in caplog.records]
    assert re.search(
        r"line 3 of .*a\.csv begins a row of 2 lines that are each .* take out the stray \" in its first line", said
    )


def test_a_csv_text_of_many_lines_is_one_row_where_its_lines_are_no_rows(tmp_path):
    poem = "Roses, they say\nare red, yes\n" * 4 + 'She said "so, so"\n\nand left'
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["prompt", "completion"], ["p", poem], ["q", "a\nb, c\nd, e"]])
    assert [row.text for row in read_rows(tmp_path / "a.csv")] == [poem, "a\nb, c\nd, e"]

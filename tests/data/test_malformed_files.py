"""Files that are wrong in one way each: the message names the place, and the command line exits with 2."""

import gzip
import json
import re

import pytest

from alignkit.cli import main
from alignkit.data import column_specs, load, validate_rows
from alignkit.errors import InputError


PAIR = ("prompt", "chosen", "rejected")
MADPO = (*PAIR, "reward_margin")
MODPO = (*PAIR, "chosen_margin_rewards", "rejected_margin_rewards")


class Weights:
    weights = [0.5, 0.3, 0.2]


def lines(rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def changed(row: int, **values):
    """A builder: the rows with some values of one row replaced; DROP removes the key."""

    def build(rows):
        rows[row].update(values)
        rows[row] = {key: value for key, value in rows[row].items() if value is not DROP}
        return lines(rows)

    return build


def every(**values):
    def build(rows):
        for row in rows:
            row.update(values)
        return lines([{key: value for key, value in row.items() if value is not DROP} for row in rows])

    return build


def raw(function):
    return lambda rows: function(lines(rows))


def assistant(content):
    return [{"role": "assistant", "content": content}]


def parquet(rows) -> bytes:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


DROP = object()
SECOND_CUT = raw(lambda data: data.splitlines(keepends=True)[0] + data.splitlines()[1][:60] + b"\n")

# name of the case: (file name, bytes from the good rows, columns, what the message must say)
CASES = {
    "truncated JSON": ("a.jsonl", SECOND_CUT, PAIR, r"a\.jsonl, line 2: the JSON is cut short"),
    "not JSON": ("a.jsonl", raw(lambda data: data + b"hello\n"), PAIR, r"line 6: not valid JSON"),
    "truncated array": ("a.json", lambda rows: json.dumps(rows).encode()[:-30], PAIR, r"a\.json, line 1: .*cut"),
    "array without a comma": ("a.json", lambda rows: b"[" + lines(rows) + b"]", PAIR, r"a\.json, line 2: .*comma"),
    "text after an array": (
        "a.json",
        lambda rows: json.dumps(rows).encode() + b"\nx",
        PAIR,
        r"line 2: .*after the end",
    ),
    "array of texts": ("a.json", lambda rows: b'["a", "b"]', PAIR, r"line 1: the row is text; expected an object"),
    "row is a list": ("a.jsonl", raw(lambda data: data + b"[1, 2]\n"), PAIR, r"line 6: the row is a list"),
    "row is null": ("a.jsonl", raw(lambda data: b"null\n" + data), PAIR, r"line 1: the row is null"),
    "key given twice": (
        "a.jsonl",
        lambda rows: b'{"prompt": "a", "prompt": "b"}\n',
        PAIR,
        r"line 1: the key `prompt` app",
    ),
    "invalid UTF-8": (
        "a.jsonl",
        raw(lambda data: data.replace(b"4.", b"\xff.", 1)),
        PAIR,
        r"line 3: byte \d+ \(0xff\)",
    ),
    "10 MB row": (
        "a.jsonl",
        changed(2, note="x" * 10_000_000),
        PAIR,
        r"line 3: the row is longer than 8,388,608 bytes",
    ),
    "empty file": ("a.jsonl", lambda rows: b"", PAIR, r"a\.jsonl: the file holds no rows"),
    "blank lines only": ("a.jsonl", lambda rows: b"\n \n", PAIR, r"a\.jsonl: the file holds no rows"),
    "empty array": ("a.json", lambda rows: b"[]", PAIR, r"a\.json: the file holds no rows"),
    "unknown extension": ("a.yaml", lines, PAIR, r"a\.yaml: unknown kind of file '\.yaml'; expected \.jsonl"),
    "broken gz": (
        "a.jsonl.gz",
        lambda rows: gzip.compress(lines(rows))[:-20],
        PAIR,
        r"a\.jsonl\.gz: not a whole gzip",
    ),
    "not gz at all": ("a.jsonl.gz", lines, PAIR, r"a\.jsonl\.gz: not a whole gzip"),
    "broken parquet": ("a.parquet", lambda rows: parquet(rows)[:-9], PAIR, r"a\.parquet: not a whole parquet file"),
    "damaged parquet page": (
        "a.parquet",
        lambda rows: b"PAR1" + b"\x00" * 300 + parquet(rows)[304:],
        PAIR,
        r"a\.parquet: cannot be read as parquet|a\.parquet: not a whole",
    ),
    "missing column": ("a.jsonl", every(chosen=DROP), PAIR, r"the column `chosen` is missing; present: prompt"),
    "column misspelt": (
        "a.jsonl",
        lambda rows: lines(rows).replace(b"reward_margin", b"reward-margin"),
        MADPO,
        r"`reward_margin` is missing; did you mean to rename `reward-margin`",
    ),
    "csv missing column": (
        "a.csv",
        lambda rows: b"prompt,chosen\na,b\n",
        PAIR,
        r"a\.csv: the column `rejected` is missing",
    ),
    "csv short line": (
        "a.csv",
        lambda rows: b"prompt,chosen,rejected\na,b,c\nd,e\n",
        PAIR,
        r"line 3: 2 cells; expected 3",
    ),
    "csv column twice": ("a.csv", lambda rows: b"chosen,chosen\na,b\n", PAIR, r"line 1: the header names .* twice"),
    "csv open quote": ("a.csv", lambda rows: b'prompt,chosen,rejected\n"a,b,c\n', PAIR, r"line 2: not valid CSV"),
    "csv margin is a word": (
        "a.csv",
        lambda rows: b"prompt,chosen,rejected,reward_margin\na,b,c,0.5\nd,e,f,high\n",
        MADPO,
        r"line 2, field `reward_margin`: the value is text \('0\.5'\); expected a finite number",
    ),
    "mixed rows": (
        "a.jsonl",
        changed(3, chosen="plain"),
        PAIR,
        r"line 4, field `chosen`: the value is text, but a list",
    ),
    "number as prompt": (
        "a.jsonl",
        every(prompt=3),
        PAIR,
        r"line 1, field `prompt`: the value is a number; expected text",
    ),
    "type changes inside messages": (
        "a.jsonl",
        changed(2, chosen=assistant(["a", 1])),
        PAIR,
        r"line 3, field `chosen`: the value .* mixes types",
    ),
    "empty chosen": ("a.jsonl", changed(1, chosen=assistant("")), PAIR, r"line 2, field `chosen`: .*content ''"),
    "blank rejected": (
        "a.jsonl",
        changed(1, rejected=assistant(" \n")),
        PAIR,
        r"line 2, field `rejected`: .*content ' ",
    ),
    "no messages": ("a.jsonl", changed(1, chosen=[]), PAIR, r"line 2, field `chosen`: the list of messages is empty"),
    "chosen equals rejected": (
        "a.jsonl",
        changed(2, rejected=assistant("It is 3.")),
        PAIR,
        r"line 3, field `rejected`: the response equals `chosen`",
    ),
    "role missing": ("a.jsonl", changed(1, chosen=[{"content": "x"}]), PAIR, r"line 2, field `chosen`: .* no `role`"),
    "unknown role": (
        "a.jsonl",
        changed(1, chosen=[{"role": "bot", "content": "x"}]),
        PAIR,
        r"line 2, .*role 'bot'; expected one of system",
    ),
    "content null": ("a.jsonl", changed(4, chosen=assistant(None)), PAIR, r"line 5, field `chosen`: .* no `content`"),
    "prompt null": ("a.jsonl", changed(4, prompt=None), PAIR, r"line 5, field `prompt`: the value is null"),
    "prompt missing in a row": (
        "a.jsonl",
        changed(4, prompt=DROP),
        PAIR,
        r"line 5, field `prompt`: the value is null",
    ),
    "prompt missing and nothing shared": (
        "a.jsonl",
        every(prompt=DROP),
        PAIR,
        r"no `prompt`, and `chosen` and `rejected`",
    ),
    "prompt ends with the assistant": (
        "a.jsonl",
        changed(0, prompt=assistant("hi")),
        PAIR,
        r"line 1, field `prompt`: the last message has the role 'assistant'",
    ),
    "response ends with the user": (
        "a.jsonl",
        changed(0, chosen=[*assistant("a"), {"role": "user", "content": "b"}]),
        PAIR,
        r"line 1, field `chosen`: the last message has the role 'user'",
    ),
    "response repeats the prompt": (
        "a.jsonl",
        changed(0, chosen=[{"role": "user", "content": "q"}, *assistant("a")]),
        PAIR,
        r"line 1, field `chosen`: the first message has the role 'user'",
    ),
    "late system message": (
        "a.jsonl",
        changed(0, prompt=[{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]),
        PAIR,
        r"line 1, field `prompt`: message 1 .* 'system'; only the first",
    ),
    "text prompt beside conversations": (
        "a.jsonl",
        every(prompt="q"),
        PAIR,
        r"line 1, field `prompt`: .* use one kind",
    ),
    "NaN margin": (
        "a.jsonl",
        changed(3, reward_margin=float("nan")),
        MADPO,
        r"line 4, field `reward_margin`: .* NaN; exp",
    ),
    "infinite margin": (
        "a.jsonl",
        changed(3, reward_margin=float("inf")),
        MADPO,
        r"line 4, field `reward_margin`: .* inf",
    ),
    "null margin": (
        "a.jsonl",
        changed(3, reward_margin=None),
        MADPO,
        r"line 4, field `reward_margin`: the value is null",
    ),
    "margin as text": (
        "a.jsonl",
        every(reward_margin="0.5"),
        MADPO,
        r"field `reward_margin`: the value is text \('0\.5'\)",
    ),
    "margin as list": ("a.jsonl", every(reward_margin=[1.0]), MADPO, r"field `reward_margin`: the value is a list"),
    "true as margin": ("a.jsonl", every(reward_margin=True), MADPO, r"field `reward_margin`: the value is true/false"),
    "too few margin rewards": (
        "a.jsonl",
        changed(1, rejected_margin_rewards=[1.0]),
        MODPO,
        r"line 2, field `rejected_margin_rewards`: the list holds 1 numbers; expected 2",
    ),
    "null in margin rewards": (
        "a.jsonl",
        changed(2, chosen_margin_rewards=[1.0, None]),
        MODPO,
        r"line 3, field `chosen_margin_rewards`: number 1 .* null",
    ),
    "number for margin rewards": (
        "a.jsonl",
        every(chosen_margin_rewards=1.0),
        MODPO,
        r"field `chosen_margin_rewards`: the value is a number \(1\.0\); expected a list",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_malformed_file_is_refused_with_its_place(case, pair_rows, tmp_path):
    name, build, columns, message = CASES[case]
    path = tmp_path / name
    path.write_bytes(build(pair_rows))
    with pytest.raises(InputError, match=message) as caught:
        validate_rows(load(str(path), "train"), column_specs(columns, Weights), source=str(path))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_folder_without_data_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match=f"{re.escape(str(tmp_path))}: the folder holds no data"):
        load(str(tmp_path))


def test_a_damaged_saved_data_set_is_refused(pair_rows, write_jsonl, tmp_path):
    load(write_jsonl(pair_rows), "train").save_to_disk(tmp_path / "saved")
    next((tmp_path / "saved").glob("*.arrow")).write_bytes(b"broken")
    with pytest.raises(InputError, match="the saved data set cannot be read"):
        load(str(tmp_path / "saved"))


def test_files_of_a_folder_that_do_not_fit_together_are_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"chosen": "text"}\n')
    (tmp_path / "b.jsonl").write_text('{"chosen": ["list"]}\n')
    with pytest.raises(InputError, match=r"the columns of a\.jsonl, b\.jsonl do not fit together"):
        load(str(tmp_path))


def test_the_limit_of_a_row_can_be_raised(pair_rows, write_jsonl):
    pair_rows[2]["note"] = "x" * 10_000_000
    assert len(load(write_jsonl(pair_rows), "train", max_row_bytes=20_000_000)) == 5


@pytest.mark.parametrize(
    "case",
    ["truncated JSON", "invalid UTF-8", "column misspelt", "NaN margin", "10 MB row", "broken gz", "empty file"],
)
def test_the_command_line_exits_with_2_and_names_the_place(case, pair_rows, tmp_path, capsys):
    name, build, _, message = CASES[case]
    path = tmp_path / name
    path.write_bytes(build(pair_rows))
    config = tmp_path / "run.yaml"
    config.write_text(f"dataset_name: {path}\nmodel_name_or_path: {tmp_path}/no-model\noutput_dir: {tmp_path}/out\n")
    assert main(["check", "madpo", "--config", str(config)]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert "Traceback" not in error

"""Records survive a kill at any byte."""

import json
import logging
import subprocess
import sys

import pytest

from alignkit.errors import InputError
from alignkit.eval.records import RecordLog, write_atomically


def open_log(path):
    return RecordLog(path, lambda record: record["id"])


def test_log_cut_at_any_byte_is_repaired_and_keeps_every_complete_record(tmp_path):
    path = tmp_path / "log.jsonl"
    with open_log(path) as log:
        for place in range(3):
            log.append({"id": place, "text": "é\n\u2028"})
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        complete = sum(len(b"".join(lines[: count + 1])) <= cut for count in range(3))
        assert list(open_log(path).records) == list(range(complete))
        with open_log(path) as log:
            for place in range(3):
                if place not in log:
                    log.append({"id": place, "text": "é\n\u2028"})
        assert path.read_bytes() == whole


def test_repair_is_logged(tmp_path, caplog):
    path = tmp_path / "log.jsonl"
    path.write_text('{"id": 1}\n{"id": ')
    with caplog.at_level(logging.WARNING), open_log(path):
        assert "half written" in caplog.text


def test_damaged_line_in_the_middle_is_refused_by_its_number(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"id": 1}\n{"id": \n{"id": 3}\n')
    with pytest.raises(InputError, match=r"log.jsonl, line 2: damaged"):
        open_log(path)


def test_first_of_two_records_with_one_key_counts(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"id": 1, "v": "a"}\n{"id": 1, "v": "b"}\n')
    assert open_log(path)[1]["v"] == "a"


def test_second_writer_is_refused(tmp_path):
    pytest.importorskip("fcntl")
    path = tmp_path / "log.jsonl"
    with open_log(path), pytest.raises(InputError, match="another run"), open_log(path):
        raise AssertionError("two writers")
    with open_log(path):
        assert path.exists()


def test_records_of_a_killed_process_are_all_there(tmp_path):
    path = tmp_path / "log.jsonl"
    code = (
        "import os, signal, sys; from pathlib import Path; from alignkit.eval.records import RecordLog\n"
        "with RecordLog(Path(sys.argv[1]), lambda record: record['id']) as log:\n"
        "    for place in range(100): log.append({'id': place})\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], timeout=60).returncode == -9
    assert list(open_log(path).records) == list(range(100))


def test_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a" / "file.json"
    write_atomically(path, "1")
    write_atomically(path, json.dumps({"x": 1}))
    assert json.loads(path.read_text()) == {"x": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["file.json"]

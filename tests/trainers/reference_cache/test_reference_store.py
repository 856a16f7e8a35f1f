"""The cache on disk: what was written is read, what is unsound is dropped, nothing else is touched."""

import logging

import numpy as np
import pytest

from alignkit.trainers.reference_cache import ReferenceStore, store


ROWS = [bytes([number]) * 16 for number in range(6)]
VALUES = np.arange(12, dtype=np.float32).reshape(6, 2)


def filled(folder, key=None, rows=ROWS, values=VALUES):
    cache = ReferenceStore(folder, key or {"model": "a"}, 2)
    cache.add(rows, values)
    cache.flush()
    return cache


def test_values_are_read_back_by_row_and_only_under_their_key(tmp_path):
    filled(tmp_path)
    known = ReferenceStore(tmp_path, {"model": "a"}, 2).load()
    assert [known[row].tolist() for row in reversed(ROWS)] == VALUES[::-1].tolist()
    assert ReferenceStore(tmp_path, {"model": "b"}, 2).load() == {}
    assert ReferenceStore(tmp_path, {"model": "a"}, 1).load() == {}


def test_shards_of_two_runs_add_up(tmp_path):
    filled(tmp_path, rows=ROWS[:2], values=VALUES[:2])
    filled(tmp_path, rows=ROWS[2:], values=VALUES[2:])
    cache = ReferenceStore(tmp_path, {"model": "a"}, 2)
    assert len(cache.load()) == 6
    assert len(list(cache.folder.glob("*.safetensors"))) == 2
    assert not list(cache.folder.glob("*.tmp"))


def test_a_full_shard_is_on_disk_before_the_pass_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARD_ROWS", 4)
    cache = ReferenceStore(tmp_path, {"model": "a"}, 2)
    for place in range(6):
        cache.add([ROWS[place]], VALUES[place : place + 1])
    assert set(ReferenceStore(tmp_path, {"model": "a"}, 2).load()) == set(ROWS[:4])


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-7])


def one_bit_flipped(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def emptied(path):
    path.write_bytes(b"")


def of_another_key(path):
    other = filled(path.parent.parent, {"model": "b"})
    path.write_bytes(next(other.folder.glob("*.safetensors")).read_bytes())


@pytest.mark.parametrize("spoil", [cut_short, one_bit_flipped, emptied, of_another_key])
def test_an_unsound_shard_is_dropped_with_a_warning_and_the_others_are_kept(tmp_path, caplog, spoil):
    spoiled = filled(tmp_path, rows=ROWS[:2], values=VALUES[:2])
    path = next(spoiled.folder.glob("*.safetensors"))
    spoil(path)
    filled(tmp_path, rows=ROWS[2:], values=VALUES[2:])
    with caplog.at_level(logging.WARNING):
        known = ReferenceStore(tmp_path, {"model": "a"}, 2).load()
    assert set(known) == set(ROWS[2:])
    assert path.name in caplog.text and not path.exists()


def test_what_is_not_finite_is_not_kept(tmp_path):
    values = VALUES.copy()
    values[1, 0], values[3, 1] = np.nan, -np.inf
    cache = filled(tmp_path, values=values)
    assert set(cache.load()) == {ROWS[0], ROWS[2], ROWS[4], ROWS[5]}


def test_a_disk_that_cannot_be_written_to_does_not_end_the_run(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    cache = filled(tmp_path / "file")
    assert "cannot be kept" in caplog.text
    assert cache.load() == {}

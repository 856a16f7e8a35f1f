"""What export refuses, with what words, and that nothing is left behind or destroyed."""

import json
import os
from pathlib import Path

import pytest

from alignkit.cli import main
from alignkit.errors import InputError
from alignkit.hub import export_adapter

from .tiny import save_adapter


def refuse(match: str):
    return pytest.raises(InputError, match=match)


def test_folder_without_weights_says_what_was_looked_for(tmp_path):
    with refuse("holds no adapter_model.safetensors, no model.safetensors and no checkpoint-N"):
        export_adapter(tmp_path, tmp_path / "out")


def test_missing_folder_is_refused_by_the_command_with_code_2(tmp_path, capsys):
    assert main(["export", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("adapter_model.bin", "pickle"),
        ("pytorch_model.bin", "pickle"),
        ("pytorch_model_fsdp_0", "merge-weights"),
        ("global_step12", "zero_to_fp32"),
    ],
)
def test_weights_in_other_forms_are_refused_with_the_way_out(tmp_path, name, hint):
    folder = tmp_path / "checkpoint-1"
    folder.mkdir()
    (folder / name).mkdir() if "." not in name else (folder / name).write_bytes(b"x")
    with refuse(hint):
        export_adapter(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("name", ["adapter_config.json", "tokenizer_config.json", "alignkit_run.json"])
def test_broken_json_is_named(adapter, tmp_path, name):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in adapter.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / name).write_text('{"half": ')
    with refuse(f"{name} is not valid JSON"):
        export_adapter(folder, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy"]


def test_empty_adapter_is_refused(adapter, tmp_path):
    from safetensors.numpy import save_file

    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    save_file({}, folder / "adapter_model.safetensors")
    with refuse("holds no tensor"):
        export_adapter(folder, tmp_path / "out")


def test_non_empty_folder_is_kept_unless_forced(adapter, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with refuse("is not empty; name another folder or replace it with --force"):
        export_adapter(adapter, out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    export_adapter(adapter, out, force=True)
    assert not (out / "mine.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_empty_folder_is_used(adapter, tmp_path):
    (tmp_path / "out").mkdir()
    assert export_adapter(adapter, tmp_path / "out").path.joinpath("README.md").exists()


def test_force_replaces_neither_the_checkpoint_nor_a_folder_above_it_nor_the_current_one(base, tmp_path, monkeypatch):
    run = Path(save_adapter(base, tmp_path / "runs" / "one"))
    for out in (run, tmp_path / "runs"):
        with refuse("is or contains the checkpoint"):
            export_adapter(run, out, force=True)
    here = tmp_path / "here"
    (here / "sub").mkdir(parents=True)
    monkeypatch.chdir(here / "sub")
    with refuse("the current folder"):
        export_adapter(run, here, force=True)
    assert (run / "adapter_model.safetensors").exists()


def test_failure_while_replacing_keeps_the_old_folder(adapter, tmp_path, monkeypatch):
    out = export_adapter(adapter, tmp_path / "out").path
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr("alignkit.hub.export.build_card", lambda card: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_adapter(adapter, out, force=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_failed_rename_puts_the_old_folder_back(adapter, tmp_path, monkeypatch):
    out = export_adapter(adapter, tmp_path / "out").path
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    rename = os.rename

    def fail_for_the_new_one(source, target):
        if ".tmp-" in str(source):
            raise OSError("disk error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_for_the_new_one)
    with pytest.raises(OSError, match="disk error"):
        export_adapter(adapter, out, force=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_file_in_the_place_of_the_folder_is_refused(adapter, tmp_path):
    (tmp_path / "out").write_text("x")
    with refuse("is a file"):
        export_adapter(adapter, tmp_path / "out", force=True)


def test_command_needs_a_folder_or_a_repository(adapter, capsys):
    assert main(["export", str(adapter)]) == 2
    assert "--out" in capsys.readouterr().err
    assert main(["export", str(adapter), "--out", "x", "--private"]) == 2
    assert "--push" in capsys.readouterr().err


def test_adapter_without_a_base_name_is_warned_of(adapter, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in adapter.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": None}))
    assert "--base_model" in export_adapter(folder, tmp_path / "out").warnings[0]
    with refuse("nothing says which base model"):
        export_adapter(folder, tmp_path / "merged", merge=True)

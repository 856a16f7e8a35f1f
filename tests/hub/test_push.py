"""Pushing against a Hub on localhost: what arrives, and what happens when the Hub does not play along."""

from pathlib import Path

import pytest

from alignkit.cli import main
from alignkit.errors import InputError
from alignkit.hub import PushError, export_adapter, push

from .stub_hub import TOKEN, StubHub


REPO = "tester/tiny-dpo"


@pytest.fixture(scope="module")
def exported(adapter, tmp_path_factory) -> Path:
    return export_adapter(adapter, tmp_path_factory.mktemp("push") / "tiny-dpo", method="dpo").path


@pytest.fixture
def online(monkeypatch) -> pytest.MonkeyPatch:
    """The Hub's client with its offline switch off, with a token, without Xet (whose storage is no plain HTTP)."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    # Retries wait between attempts, the client's and ours; only the waiting is cut.
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return monkeypatch


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_file_arrives_byte_for_byte(exported, online):
    with StubHub() as hub:
        result = push(exported, REPO, endpoint=hub.url, private=True)
    assert hub.files[REPO] == contents(exported)
    assert "adapter_model.safetensors" in hub.files[REPO]
    assert any(request.startswith("PUT /lfs/") for request in hub.requests)
    # Versions of the client say it in one of two fields.
    assert hub.repos[REPO].get("private") is True or hub.repos[REPO].get("visibility") == "private"
    assert hub.messages == ["Upload tiny-dpo with alignkit"]
    assert result.repo_id == REPO
    assert result.commit == "a" * 40


def test_every_file_arrives_through_the_xet_pipeline(exported, online):
    from huggingface_hub import constants

    online.setattr(constants, "HF_HUB_DISABLE_XET", False)
    with StubHub(lfs_suffixes=()) as hub:
        push(exported, REPO, endpoint=hub.url)
    assert hub.files[REPO] == contents(exported)


def test_existing_repository_is_updated_and_named_in_full(exported, online):
    with StubHub() as hub:
        push(exported, "tiny-dpo", endpoint=hub.url)
        result = push(exported, "tiny-dpo", endpoint=hub.url)
    assert result.repo_id == REPO
    assert hub.files[REPO] == contents(exported)
    # What had arrived is not sent again.
    assert sum(request.startswith("PUT /lfs/") for request in hub.requests) == 1


def test_refused_token_is_an_input_error_and_not_retried(exported, online):
    online.setenv("HF_TOKEN", "hf_wrong")
    before = contents(exported)
    with StubHub() as hub, pytest.raises(InputError, match="hf auth login") as caught:
        push(exported, REPO, endpoint=hub.url)
    assert "hf_wrong" not in str(caught.value)
    assert f"alignkit export {exported} --push {REPO}" in str(caught.value)
    assert hub.requests.count("POST /api/repos/create") == 1
    assert not any("commit" in request or "lfs" in request for request in hub.requests)
    assert contents(exported) == before


def test_token_without_write_access_is_an_input_error(exported, online):
    with StubHub() as hub, pytest.raises(InputError, match="may not write to tester/tiny-dpo"):
        hub.faults = {"/commit/": [403]}
        push(exported, REPO, endpoint=hub.url)


@pytest.mark.parametrize("place", ["/api/repos/create", "/commit/", "/lfs/"])
def test_server_error_then_success_delivers_everything(exported, online, place):
    with StubHub() as hub:
        hub.faults = {place: [500]}
        push(exported, REPO, endpoint=hub.url)
    assert hub.faults == {place: []}
    assert hub.files[REPO] == contents(exported)


@pytest.mark.parametrize("place", ["/api/repos/create", "/commit/", "/lfs/"])
def test_dropped_connection_then_success_delivers_everything(exported, online, place):
    with StubHub() as hub:
        hub.faults = {place: ["drop"]}
        push(exported, REPO, endpoint=hub.url)
    assert hub.faults == {place: []}
    assert hub.files[REPO] == contents(exported)


@pytest.mark.parametrize(("fault", "said"), [(500, "the Hub answered 500"), ("drop", "the connection failed")])
def test_lasting_failure_says_how_to_retry_and_leaves_the_export_alone(exported, online, fault, said):
    before = contents(exported)
    with StubHub() as hub, pytest.raises(PushError, match=said) as caught:
        hub.faults = {"/commit/": [fault] * 50}
        push(exported, REPO, endpoint=hub.url, private=True, attempts=2)
    assert str(caught.value).endswith(f"alignkit export {exported} --push {REPO} --private")
    assert contents(exported) == before
    assert hub.files[REPO] == {}


def test_unreachable_hub_is_a_push_error(exported, online):
    with StubHub() as hub:
        address = hub.url
    with pytest.raises(PushError, match="the connection failed"):
        push(exported, REPO, endpoint=address, attempts=1)


def test_command_exports_and_pushes_to_the_endpoint_of_the_environment(adapter, online, tmp_path, capsys):
    out = tmp_path / "out"
    with StubHub() as hub:
        online.setenv("HF_ENDPOINT", hub.url)
        assert main(["export", str(adapter), "--out", str(out), "--method", "dpo", "--push", REPO]) == 0
    assert hub.files[REPO] == contents(out)
    assert f'model_id = "{REPO}"' in (out / "README.md").read_text()
    assert f"Pushed to {hub.url}/{REPO}" in capsys.readouterr().out


def test_retry_command_works_as_printed(adapter, online, tmp_path, capsys):
    import shlex

    out = tmp_path / "with space"
    with StubHub() as hub:
        online.setenv("HF_ENDPOINT", hub.url)
        online.delenv("HF_TOKEN")
        online.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
        online.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
        assert main(["export", str(adapter), "--out", str(out), "--push", REPO]) == 2
        message = capsys.readouterr().err
        assert "hf auth login" in message and "HF_TOKEN" in message
        assert hub.requests == []
        online.setenv("HF_TOKEN", TOKEN)
        command = shlex.split(message[message.rindex("alignkit export") :].strip())
        assert main(command[1:]) == 0
    assert hub.files[REPO] == contents(out)


def test_failed_push_of_the_command_ends_with_code_1(adapter, online, tmp_path, capsys):
    with StubHub() as hub:
        hub.faults = {"/commit/": ["drop"] * 50}
        online.setenv("HF_ENDPOINT", hub.url)
        assert main(["export", str(adapter), "--out", str(tmp_path / "out"), "--push", REPO]) == 1
    assert "nothing is lost" in capsys.readouterr().err
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()


def test_offline_mode_is_respected(exported, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with StubHub() as hub, pytest.raises(InputError, match="HF_HUB_OFFLINE"):
        push(exported, REPO, endpoint=hub.url, token=TOKEN)
    assert hub.requests == []


def test_folder_that_is_no_export_is_refused(base, online):
    with pytest.raises(InputError, match=r"is not an exported folder \(it has no alignkit.json\)"):
        push(base, REPO)


@pytest.mark.parametrize("name", ["a/b/c", "user/na me", "user/.."])
def test_bad_repository_name_is_refused_before_anything_is_written(adapter, tmp_path, name, capsys):
    assert main(["export", str(adapter), "--out", str(tmp_path / "out"), "--push", name]) == 2
    assert "is not a repository name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_flags_of_the_export_are_refused_when_only_pushing(exported, capsys):
    assert main(["export", str(exported), "--push", REPO, "--merge"]) == 2
    assert "--merge changes the export" in capsys.readouterr().err

"""The doctor: what it finds here for real, and what it says of installations that are not right."""

import importlib.metadata
import json
import socket
import sys
import time
from types import SimpleNamespace

import pytest

from alignkit import doctor
from alignkit.cli import main


def by_name(findings) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in findings}


@pytest.fixture
def other_versions(monkeypatch):
    """Pretend that packages have other versions (`None`: not installed)."""

    def pretend(**versions):
        real = importlib.metadata.version

        def version(name):
            if name not in versions:
                return real(name)
            if versions[name] is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(doctor, "version", version)

    return pretend


def test_this_installation_is_healthy_and_every_line_is_a_sentence(capsys):
    assert main(["doctor", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["healthy"] is True
    findings = {finding["name"]: finding for finding in answer["findings"]}
    assert {"python", "packages", "torch", "bf16", "bitsandbytes", "vllm", "hub", "hub token", "memory"} <= set(
        findings
    )
    for finding in answer["findings"]:
        assert finding["message"].endswith("."), finding
        assert "\n" not in finding["message"], finding
        assert finding["status"] != "warning" or finding["remedy"], finding


def test_table_names_every_finding(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for name in ("python", "torch", "bitsandbytes", "hub token"):
        assert name in text
    assert "alignkit works here" in text


def test_four_bit_round_trip_is_measured():
    finding = by_name(doctor.check_bitsandbytes())["bitsandbytes"]
    assert finding.status == "ok"
    # Half of NF4's widest gap, (1 - 0.6962) / 2, is reached by values in the middle of it.
    assert "errs by 0.14" in finding.message or "errs by 0.15" in finding.message


def test_wrong_four_bit_arithmetic_is_an_error(monkeypatch):
    import bitsandbytes.functional

    real = bitsandbytes.functional.dequantize_4bit
    monkeypatch.setattr(bitsandbytes.functional, "dequantize_4bit", lambda *args, **kwargs: -real(*args, **kwargs))
    finding = by_name(doctor.check_bitsandbytes())["bitsandbytes"]
    assert finding.status == "error" and finding.remedy


def test_bitsandbytes_that_cannot_be_imported_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    finding = by_name(doctor.check_bitsandbytes())["bitsandbytes"]
    assert finding.status == "error" and "cannot be imported" in finding.message


def test_missing_requirement_makes_the_exit_code_1(other_versions, capsys):
    other_versions(peft=None)
    assert main(["doctor", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["healthy"] is False
    (finding,) = [finding for finding in answer["findings"] if finding["status"] == "error"]
    assert finding["message"] == "peft is required and not installed."
    assert finding["remedy"].startswith("pip install 'peft")
    assert main(["doctor"]) == 1
    assert "will not work here" in capsys.readouterr().out


def test_requirement_out_of_range_is_an_error_and_an_untested_one_a_warning(other_versions):
    other_versions(trl="1.99.0", transformers="5.999.0")
    findings = by_name(doctor.check_packages())
    assert findings["trl"].status == "error" and "1.99.0" in findings["trl"].message
    assert findings["transformers"].status == "warning"
    pin = doctor.read_constraints(doctor.find_constraints())["transformers"]
    assert findings["transformers"].remedy == f"If something fails: pip install 'transformers=={pin}'"
    assert doctor.is_healthy([findings["transformers"]]) and not doctor.is_healthy([findings["trl"]])


def test_local_build_tag_is_not_another_version(other_versions):
    pin = doctor.read_constraints(doctor.find_constraints())["torch"].split("+")[0]
    other_versions(torch=f"{pin}+cu130")
    assert "torch" not in by_name(doctor.check_packages())


def test_constraints_are_found_in_a_wheel_first_and_else_in_the_checkout(tmp_path, monkeypatch):
    package = tmp_path / "alignkit"
    package.mkdir()
    monkeypatch.setattr(doctor, "__file__", str(package / "doctor.py"))
    assert doctor.find_constraints() is None
    assert by_name(doctor.check_packages())["constraints"].status == "warning"
    (tmp_path / "constraints.txt").write_text("torch==1\n")
    assert doctor.find_constraints() == tmp_path / "constraints.txt"
    (package / "constraints.txt").write_text("torch==2\n")
    assert doctor.find_constraints() == package / "constraints.txt"


def test_constraints_of_every_form_are_read(tmp_path):
    path = tmp_path / "constraints.txt"
    path.write_text(
        "# tested\n\n--extra-index-url https://example.org\nTorch==2.13.0 # exact\nalpaca_eval==0.6.6\nnumpy>=1\n"
        "old==1 ; python_version < '3'\n"
    )
    assert doctor.read_constraints(path) == {"torch": "2.13.0", "alpaca-eval": "0.6.6"}


@pytest.mark.parametrize(("installed", "status"), [("0.22.0", "ok"), ("0.31.0", "ok"), ("0.9.1", "warning")])
def test_vllm_is_held_against_the_range_of_the_installed_trl(other_versions, monkeypatch, installed, status):
    other_versions(vllm=installed)
    monkeypatch.setattr(doctor, "find_spec", lambda name: SimpleNamespace(name=name))
    finding = by_name(doctor.check_vllm())["vllm"]
    assert finding.status == status
    assert installed in finding.message and ">=0.22.0" in finding.message


def test_token_is_told_of_and_never_printed(monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_do_not_print_me")
    assert main(["doctor"]) == 0
    captured = capsys.readouterr()
    assert "There is a Hub token" in captured.out
    assert "hf_do_not_print_me" not in captured.out + captured.err


def test_offline_flag_is_respected(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(doctor, "answers", lambda endpoint: pytest.fail("the Hub was tried"))
    assert "HF_HUB_OFFLINE" in by_name(doctor.check_hub())["hub"].message


@pytest.fixture
def online(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def test_hub_that_answers_and_hub_that_does_not(online):
    with socket.create_server(("127.0.0.1", 0)) as server:
        online.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert by_name(doctor.check_hub())["hub"].status == "ok"
    finding = by_name(doctor.check_hub())["hub"]
    assert finding.status == "warning" and "did not answer" in finding.message


def test_name_lookup_that_hangs_does_not_hang_the_doctor(online):
    online.setattr(socket, "create_connection", lambda *args, **kwargs: time.sleep(30))
    start = time.monotonic()
    assert doctor.answers("https://example.org", timeout=0.1) is False
    assert time.monotonic() - start < 10


def test_proxy_of_the_environment_is_what_is_tried(online):
    with socket.create_server(("127.0.0.1", 0)) as server:
        online.setenv("https_proxy", f"127.0.0.1:{server.getsockname()[1]}")
        assert doctor.answers("https://nowhere.invalid", timeout=2.0) is True


def test_little_disk_is_a_warning(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**30))
    assert by_name(doctor.check_space())["disk here"].status == "warning"


def test_unsupported_python_is_an_error(monkeypatch):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.9.1")
    assert by_name(doctor.check_python())["python"].status == "error"


def test_gpu_is_described_and_lack_of_bfloat16_said(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (3 * 2**30, 16 * 2**30))
    properties = SimpleNamespace(name="Tesla T4", major=7, minor=5)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    findings = by_name(doctor.check_torch())
    assert findings["cuda:0"].message == ("Tesla T4 has 16.0 GiB, 3.0 GiB of them free (compute capability 7.5).")
    assert findings["bf16"].status == "warning" and "fp16" in findings["bf16"].remedy


def test_driver_without_a_cuda_build_is_a_warning(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    finding = by_name(doctor.check_torch())["cuda"]
    assert finding.status == "warning" and "torch is a CPU build" in finding.message


@pytest.mark.parametrize(("check", "status"), [("check_torch", "error"), ("check_trackers", "warning")])
def test_check_that_breaks_is_a_finding_and_not_a_traceback(monkeypatch, check, status):
    def broken():
        raise RuntimeError("bad library")
        yield

    broken.__name__ = check
    monkeypatch.setattr(doctor, check, broken)
    (finding,) = [finding for finding in doctor.run_checks() if "bad library" in finding.message]
    assert finding.status == status

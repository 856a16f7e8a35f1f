"""`alignkit train --num_processes N` starts N processes that find each other, also where there is no GPU."""

import pytest
import torch

from alignkit.cli.train import several


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "")


def test_several_processes_without_a_gpu_are_launched_as_gloo_ones(no_gpu, monkeypatch):
    import os

    flags = several(["--num_processes", "2", "--cpu", "--main_process_port", "29511"])
    assert flags == ["--multi_gpu", "--num_processes", "2", "--main_process_port", "29511"]
    assert os.environ["ACCELERATE_USE_CPU"] == "true"


@pytest.mark.parametrize(
    "flags",
    [["--num_processes", "1"], ["--num_processes", "2", "--config_file", "my.yaml"], ["--mixed_precision", "no"]],
)
def test_other_flags_are_passed_on_as_they_are(no_gpu, flags):
    assert several(flags) == flags


def test_with_a_gpu_the_flags_are_passed_on_as_they_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert several(["--num_processes", "2"]) == ["--num_processes", "2"]

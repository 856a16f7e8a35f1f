"""The static reading of config classes agrees with the classes themselves, and stays cheap."""

import dataclasses
import subprocess
import sys

import pytest

from alignkit.catalog import METHODS
from alignkit.catalog.method import load_object
from alignkit.config import NOT_GIVEN
from alignkit.config.fields import _REEXPORTS, EVALUATION_CONFIG, SHARED_CONFIGS, class_fields


@pytest.mark.parametrize("path", [*(method.config for method in METHODS.values()), *SHARED_CONFIGS, EVALUATION_CONFIG])
def test_fields_read_from_source_equal_the_dataclass_fields(path):
    real = {
        item.name: item
        for item in dataclasses.fields(load_object(path))
        if item.init and not item.name.startswith("_")
    }
    read = class_fields(path)
    assert set(read) == set(real)
    for name, item in real.items():
        if item.default is not dataclasses.MISSING and isinstance(item.default, (int, float, str, type(None))):
            assert read[name].default == item.default or isinstance(read[name].default, str), name
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            assert read[name].default is NOT_GIVEN, name


@pytest.mark.parametrize("path", _REEXPORTS)
def test_reexports_point_at_real_classes(path):
    assert load_object(_REEXPORTS[path]).__name__ == path.split(":")[1]


def test_help_of_a_training_command_imports_nothing_heavy():
    code = (
        "import sys; from alignkit.cli import main; main(['train', 'madpo', '--help']);"
        "print([name for name in ('torch', 'transformers', 'trl', 'datasets', 'peft') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout
    assert output.rstrip().endswith("[]")
    assert "--sft_weight" in output and "--c_max" in output and "--learning_rate" in output and "--lora_r" in output

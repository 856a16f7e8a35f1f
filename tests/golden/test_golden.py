"""Every golden case of every method whose file lies here: the published numbers, or the refusal."""

import importlib
import json
import math
from pathlib import Path

import pytest
import torch


CASES = [
    pytest.param(function["name"], case, id=f"{path.stem}-{function['name'].rsplit('.', 1)[1]}-{index}")
    for path in sorted(Path(__file__).parent.glob("*.json"))
    for function in json.loads(path.read_text())["functions"]
    for index, case in enumerate(function["cases"])
]


def tensors(value):
    """Numeric nested lists as tensors (float64), everything else unchanged."""
    if isinstance(value, list) and value and _numeric(value):
        is_float = torch.tensor(value).is_floating_point()
        return torch.tensor(value, dtype=torch.float64 if is_float else None)
    return value


def _numeric(value) -> bool:
    if isinstance(value, list):
        lengths = {len(item) if isinstance(item, list) else None for item in value}
        return len(lengths) == 1 and all(map(_numeric, value))
    return isinstance(value, (bool, int, float))


def plain(value):
    """The result as nested dictionaries and lists of numbers."""
    if isinstance(value, torch.Tensor):
        return value.detach().tolist()
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def assert_close(actual, expected, tol, where="result"):
    if isinstance(expected, dict):
        assert isinstance(actual, dict) and set(expected) <= set(actual), where
        for key in expected:
            assert_close(actual[key], expected[key], tol, f"{where}.{key}")
    elif isinstance(expected, list):
        assert isinstance(actual, list) and len(actual) == len(expected), where
        for index, (left, right) in enumerate(zip(actual, expected, strict=True)):
            assert_close(left, right, tol, f"{where}[{index}]")
    elif isinstance(expected, float) and math.isnan(expected):
        assert math.isnan(actual), where
    elif isinstance(expected, (int, float)) and not isinstance(expected, bool):
        assert actual == pytest.approx(expected, abs=tol, rel=tol), where
    else:
        assert actual == expected, where


@pytest.mark.parametrize("form", ["tensors", "lists"])
@pytest.mark.parametrize("name, case", CASES)
def test_golden(name, case, form):
    module, function = name.rsplit(".", 1)
    function = getattr(importlib.import_module(module), function)
    kwargs = {key: tensors(value) if form == "tensors" else value for key, value in case["kwargs"].items()}
    if "raises" in case:
        with pytest.raises(ValueError):
            function(**kwargs)
    else:
        assert_close(plain(function(**kwargs)), case["expect"], case["tol"])

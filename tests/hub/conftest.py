"""A tiny base model and an adapter on it, made once per session."""

from pathlib import Path

import pytest

from .tiny import save_adapter, save_base


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> str:
    """Folder of a tiny random Qwen3 with tied embeddings, float32."""
    return save_base(tmp_path_factory.mktemp("hub") / "base")


@pytest.fixture(scope="session")
def adapter(base, tmp_path_factory) -> Path:
    """Folder of a LoRA adapter on `base`, as plain TRL leaves it."""
    return Path(save_adapter(base, tmp_path_factory.mktemp("hub") / "adapter"))

"""What every test shares: no network, one thread, the bundled model."""

import os


os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """A cache of this session's own: no test may read what another version of the code has computed."""
    os.environ["ALIGNKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def bundled_model_dir() -> str:
    """Folder of the bundled tiny model."""
    from alignkit.data.bundled import MODEL_NAME, resolve_model

    return resolve_model(MODEL_NAME)

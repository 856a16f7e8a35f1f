"""What the tests of the data room share: a cache of their own and well-formed rows."""

import json

import pytest


@pytest.fixture(scope="session", autouse=True)
def datasets_cache(tmp_path_factory):
    """Keep the Arrow files of the tests out of the user's cache."""
    import datasets

    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("datasets")
    yield
    datasets.config.HF_DATASETS_CACHE = before


@pytest.fixture
def pair_rows() -> list[dict]:
    """Five conversational pairs with the columns of MADPO and MODPO."""
    return [
        {
            "prompt": [{"role": "user", "content": f"What is {number} + 1?"}],
            "chosen": [{"role": "assistant", "content": f"It is {number + 1}."}],
            "rejected": [{"role": "assistant", "content": f"It is {number + 2}."}],
            "reward_margin": number - 1.5,
            "chosen_margin_rewards": [0.5, number],
            "rejected_margin_rewards": [1.0, 2.0],
        }
        for number in range(5)
    ]


@pytest.fixture
def write_jsonl(tmp_path):
    """Write rows as JSON lines under the temporary folder and return the path as text."""

    def write(rows: list, name: str = "pairs.jsonl") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write

"""The tabular task of the policy losses: what it calls exact is exact."""

import importlib
import itertools
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture
def tabular(monkeypatch):
    """The module as the claim checks import it; nothing of it is left behind."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks" / "claims"))
    yield importlib.import_module("tabular")
    for name in {"common", "tabular"} - before:
        sys.modules.pop(name, None)


def test_success_is_the_sum_over_all_completions(tabular):
    task = tabular.TabularTask(0, prompts=2, positions=3, vocabulary=3, needed=2)
    logits = torch.randn(task.start().shape, dtype=torch.float64)
    chances = logits.softmax(-1)
    expected = torch.zeros(2, dtype=torch.float64)
    for tokens in itertools.product(range(3), repeat=3):
        rows = torch.tensor([tokens, tokens])
        probability = torch.stack([chances[:, place, token] for place, token in enumerate(tokens)]).prod(dim=0)
        expected += probability * task.rewards(torch.arange(2), rows)
    torch.testing.assert_close(task.success(logits), expected)


def test_failures_are_longer_and_only_the_scored_positions_count(tabular):
    task = tabular.TabularTask(1, needed=1, scored=(6, 7), failure_length=3)
    batch = task.sample(task.start(), 64)
    hits = (batch.tokens[:, 6:8] == task.targets[batch.prompts, 6:8]).any(dim=1)
    assert torch.equal(batch.rewards == 1, hits) and 0 < hits.sum() < len(hits)
    assert torch.equal(batch.mask.sum(dim=1), torch.where(hits, 8, 24))
    torch.testing.assert_close(task.logps(task.start(), batch), batch.old_logps)


def test_noise_is_on_the_given_share_of_the_old_log_probabilities(tabular):
    task = tabular.TabularTask(2, noise_std=2.0, noise_share=0.1)
    batch = task.sample(task.start(), 512)
    noise = batch.old_logps - task.logps(task.start(), batch)
    assert (noise != 0).double().mean().item() == pytest.approx(0.1, abs=0.01)
    assert noise[noise != 0].std().item() == pytest.approx(2.0, abs=0.1)


def test_training_is_repeatable_and_raises_success(tabular):
    def loss(logps, batch, advantages):
        return -logps * advantages[:, None]

    runs = [tabular.train(tabular.TabularTask(3), loss, batches=8, updates=1, lr=0.3) for _ in range(2)]
    assert runs[0].success == runs[1].success and len(runs[0].success) == 9
    assert runs[0].success[-1] > runs[0].success[0]

"""The pieces of the loop without a model: rules, pair filters, tournament, shares, state, extrapolation of full models."""

import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alignkit.errors import InputError
from alignkit.generation import ModelSource
from alignkit.judges import Judge, LengthJudge
from alignkit.objectives.sampling import inpo_tournament
from alignkit.trainers.iterative.extrapolate import check_plain_lora, extrapolate
from alignkit.trainers.iterative.judging import judgements_of, tournament_preferences
from alignkit.trainers.iterative.rule import Judged
from alignkit.trainers.iterative.stages.pairs import REASONS, why_dropped, why_none
from alignkit.trainers.iterative.stages.prompts import shard
from alignkit.trainers.iterative.state import Best, LoopState, Replayable


def response(text="an answer", finish_reason="stop"):
    return {"text": text, "finish_reason": finish_reason, "is_teacher": False}


def judged(scores=None, preferences=None, usable=None, is_teacher=None):
    first = torch.tensor(scores if scores is not None else preferences, dtype=torch.float64)
    shape = first.shape[:2]
    return Judged(
        preferences=None if preferences is None else torch.tensor(preferences, dtype=torch.float64),
        scores=None if scores is None else torch.tensor(scores, dtype=torch.float64),
        usable=torch.ones(shape, dtype=torch.bool) if usable is None else torch.tensor(usable),
        is_teacher=torch.zeros(shape, dtype=torch.bool) if is_teacher is None else torch.tensor(is_teacher),
    )


def rule(key, **config):
    import importlib
    from types import SimpleNamespace

    return importlib.import_module(f"alignkit.trainers.iterative.rules.{key}").Rule(SimpleNamespace(**config))


def places(candidates):
    return [(item.prompt, item.chosen, item.rejected) for item in candidates]


def test_best_against_worst_among_the_usable():
    scores = [[3.0, 9.0, 1.0, 5.0], [2.0, 2.0, 2.0, 2.0], [1.0, float("nan"), float("nan"), 0.0]]
    usable = [[True, False, True, True], [True] * 4, [True] * 4]
    assert places(rule("dpo").candidates(judged(scores, usable=usable))) == [(0, 3, 2), (2, 0, 3)]


def test_a_judge_without_scores_ranks_by_win_rate():
    matrix = [[[0.5, 0.2, 0.9], [0.8, 0.5, 0.7], [0.1, 0.3, 0.5]]]
    assert places(rule("dpo").candidates(judged(preferences=matrix))) == [(0, 1, 2)]


def test_sppo_win_rates_count_unusable_samples_and_include_the_response_itself():
    matrix = [[[0.5, 0.2, 0.9], [0.8, 0.5, 0.7], [0.1, 0.3, 0.5]]]
    one, *_ = rule("sppo", win_rate_mode="population").candidates(judged(preferences=matrix))
    assert one.columns == pytest.approx({"chosen_win_rate": 2.0 / 3, "rejected_win_rate": 0.3})
    usable = [[True, False, True]]
    one, *_ = rule("sppo", win_rate_mode="population").candidates(judged(preferences=matrix, usable=usable))
    assert (one.chosen, one.rejected) == (0, 2) and one.columns["chosen_win_rate"] == pytest.approx(1.6 / 3)
    one, *_ = rule("sppo", win_rate_mode="pair").candidates(judged(preferences=matrix))
    assert one.columns == pytest.approx({"chosen_win_rate": 0.7, "rejected_win_rate": 0.3})


def dno(**changes):
    defaults = {
        "gold_column": "gold",
        "dno_variant": "prct",
        "rank_by": "scores",
        "min_positive": 5.0,
        "margin": 2.0,
        "student_margin": 1.0,
        "replay_fraction": 0.3,
        "replay_decay": 0.5,
    }
    return rule("dno", **{**defaults, **changes})


def test_dno_takes_all_pairs_with_a_large_margin():
    # Three samples and the teacher: a sample may win by 1, the teacher only by 2.
    scores, teacher = [[6.0, 5.0, 3.0, 6.0]], [[False, False, False, True]]
    assert places(dno().candidates(judged(scores, is_teacher=teacher))) == [(0, 0, 1), (0, 0, 2), (0, 1, 2), (0, 3, 2)]
    usable = [[False, True, True, True]]
    assert places(dno().candidates(judged(scores, usable=usable, is_teacher=teacher))) == [(0, 1, 2), (0, 3, 2)]


def test_dno_soft_labels_are_win_rates_without_the_response_itself():
    matrix = [[[0.5, 0.9, 1.0], [0.1, 0.5, 0.6], [0.0, 0.4, 0.5]]]
    soft = dno(dno_variant="soft", rank_by="win_rates", min_positive=0.5, margin=0.4, student_margin=0.4)
    found = soft.candidates(judged(preferences=matrix))
    assert places(found) == [(0, 0, 1), (0, 0, 2)]
    assert found[0].columns == pytest.approx({"chosen_win_rate": 0.95, "rejected_win_rate": 0.35})
    assert soft.judge_output == "matrix" and not soft.needs_scores()


def test_dno_replays_a_share_that_halves_with_age_and_nothing_at_first():
    assert dno().replay_counts([]) == [] and dno().replay_counts([10, 40, 7]) == [3, 6, 0]
    assert rule("dpo").replay_counts([10, 40]) == [0, 0]


@pytest.mark.parametrize(
    "chosen, rejected, reason",
    [
        (response("a"), response("b"), None),
        (response("a"), response("a"), "duplicate"),
        (response("a"), response(" \n"), "empty"),
        (response("a", "length"), response("b"), "truncated"),
        (response("a"), response("", "length"), "truncated"),
    ],
)
def test_pairs_that_are_dropped(chosen, rejected, reason):
    assert why_dropped(chosen, rejected) == reason


def test_the_reason_for_no_pair_is_told_apart():
    texts = [
        [response("a"), response("b")],
        [response("a"), response("a")],
        [response("a"), response("b", "length")],
        [response("a"), response("")],
        [response("a"), response("b")],
    ]
    usable = [[True, True], [True, True], [True, False], [True, False], [True, True]]
    scores = [[1.0, 1.0], [1.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, float("nan")]]
    found = [why_none(group, judged(scores, usable=usable), n) for n, group in enumerate(texts)]
    assert found == ["tie", "duplicate", "truncated", "empty", "failed"] and set(found) == set(REASONS)


class TableJudge(Judge):
    """Compares by a table [K, K]; responses are the indices as text."""

    def __init__(self, tables) -> None:
        super().__init__()
        self.tables = tables

    def identity(self):
        return {"judge": "table"}

    def compare_batch(self, prompts, first, second):
        self.stats.calls += len(prompts)
        items = zip(prompts, first, second, strict=True)
        return np.array([self.tables[int(prompt)][int(a), int(b)] for prompt, a, b in items])


@given(st.integers(0, 2**31), st.sampled_from([2, 4, 8, 16]))
def test_the_lazy_tournament_decides_as_the_full_matrix_with_few_comparisons(seed, size):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.choice([0.0, 0.3, 0.5, 0.8, 1.0], size=(3, size, size)), 1)
    tables = upper + np.tril(1 - upper.transpose(0, 2, 1), -1)
    tables[:, np.arange(size), np.arange(size)] = 0.5
    judge = TableJudge(tables)
    names = [str(k) for k in range(size)]
    lazy = inpo_tournament(torch.from_numpy(tournament_preferences(judge, ["0", "1", "2"], [names] * 3)))
    full = inpo_tournament(torch.from_numpy(tables))
    assert judge.stats.calls == 3 * full.num_comparisons == 3 * (3 * size // 2 - 1)
    for left, right in zip(lazy[:3], full[:3], strict=True):
        assert left.tolist() == right.tolist()


def test_a_judge_with_scores_scores_each_response_once_whatever_is_asked():
    for output in ("scores", "matrix", "tournament"):
        judge = LengthJudge()
        preferences, scores = judgements_of(judge, output, ["p", "q"], [["a", "bb"], ["ccc", "c"]])
        assert judge.stats.calls == 4 and scores.tolist() == [[-1, -2], [-3, -1]]
        assert (preferences is None) == (output == "scores")


@given(st.integers(1, 60), st.integers(1, 9))
def test_shares_are_disjoint_cover_and_differ_by_at_most_one(size, parts):
    order = list(range(100, 100 + size))
    shares = [shard(order, t, parts) for t in range(parts)]
    assert list(itertools.chain(*shares)) == order
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def a_state(**changes):
    values = {
        "method": "dno",
        "config": {"eta": 0.1},
        "base_seed": 1,
        "num_iterations": 3,
        "samples_per_prompt": 5,
        "prompt_order": {"path": "prompt_order.json", "sha256": "0"},
        "judge": {"name": "length", "fingerprint": "1"},
        "policy": "iter_0/policy",
        "reference": "m",
        "trained": "iter_0/trained",
        "previous_trained": "m",
        "best": Best(1, "iter_0/policy", 0.7),
        "replay": [Replayable(0, "iter_0/pairs.jsonl", 9)],
        "history": [{"iteration": 0, "score": None}],
    }
    return LoopState(**{**values, **changes})


def test_the_state_comes_back_from_its_file(tmp_path):
    assert LoopState.load(tmp_path) is None
    a_state(iteration=1, stage_done=["prompts"]).save(tmp_path)
    assert LoopState.load(tmp_path) == a_state(iteration=1, stage_done=["prompts"])
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 99}'])
def test_a_state_file_that_is_not_ours_is_refused(tmp_path, content):
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(InputError, match=r"state\.json"):
        LoopState.load(tmp_path)


def test_a_state_without_the_previous_model_is_refused(tmp_path):
    """Momentum cannot go on without it."""
    a_state().save(tmp_path)
    values = json.loads((tmp_path / "state.json").read_text())
    del values["previous_trained"]
    (tmp_path / "state.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="previous_trained"):
        LoopState.load(tmp_path)


def full_model(folder, tensors, **config):
    from safetensors.torch import save_file

    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return ModelSource(str(folder), str(folder))


def test_full_models_are_extrapolated_in_float32_and_integers_copied(tmp_path):
    from safetensors.torch import load_file

    new = {"w": torch.tensor([1.0, 2.0], dtype=torch.bfloat16), "position_ids": torch.tensor([3, 4])}
    old = {"w": torch.tensor([0.5, 3.0], dtype=torch.bfloat16), "position_ids": torch.tensor([3, 4])}
    sources = full_model(tmp_path / "new", new, a=1), full_model(tmp_path / "old", old, a=1)
    extrapolate(*sources, 0.3, tmp_path / "out")
    out = load_file(tmp_path / "out" / "model.safetensors")
    expected = (new["w"].float() + 0.3 * (new["w"].float() - old["w"].float())).bfloat16()
    assert torch.equal(out["w"], expected) and torch.equal(out["position_ids"], new["position_ids"])
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == {"a": 1}


def test_a_tied_head_that_one_checkpoint_repeats_is_no_difference(tmp_path):
    table = {"model.embed_tokens.weight": torch.ones(2, 2)}
    new = full_model(tmp_path / "new", table, tie_word_embeddings=True)
    old = full_model(tmp_path / "old", {**table, "lm_head.weight": torch.ones(2, 2)}, tie_word_embeddings=True)
    extrapolate(new, old, 0.5, tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize(
    "old, message", [({"v": torch.ones(2)}, "same tensors"), ({"w": torch.ones(3)}, r"shape \[2\].*\[3\]")]
)
def test_checkpoints_that_do_not_fit_are_refused(tmp_path, old, message):
    new = full_model(tmp_path / "new", {"w": torch.ones(2)})
    with pytest.raises(InputError, match=message):
        extrapolate(new, full_model(tmp_path / "old", old), 0.3, tmp_path / "out")


@pytest.mark.parametrize(
    "config", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"peft_type": "IA3"}, {"rank_pattern": {"q": 2}}]
)
def test_adapters_whose_update_is_not_a_plain_product_are_refused(config):
    with pytest.raises(InputError, match=next(iter(config))):
        check_plain_lora({"peft_type": "LORA", **config}, "an adapter")

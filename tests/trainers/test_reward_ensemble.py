"""Reward-model ensembles: members from seeds, exact resume, one base for all, and the reward made of them."""

import json
import math
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parent / "online"))

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from alignkit.cli import main
from alignkit.data import load
from alignkit.errors import InputError
from alignkit.objectives.rewards import reward_ensemble


SETTINGS = {
    "use_peft": "true",
    "lora_r": 2,
    "lora_target_modules": "all-linear",
    "lora_dropout": 0.1,
    "dataset_name": "bundled/preference",
    "max_steps": 2,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-2,
    "save_steps": 1,
    "report_to": "none",
    "gradient_checkpointing": "false",
    "use_cpu": "true",
    "disable_tqdm": "true",
}


def train(model, folder, size=2, **changes):
    flags = {"model_name_or_path": model, "output_dir": folder, "ensemble": size, **SETTINGS, **changes}
    return main(["train", "reward", "--skip_check", *(str(x) for name, v in flags.items() for x in (f"--{name}", v))])


@pytest.fixture(scope="module")
def ensemble(bundled_model_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble")
    assert train(bundled_model_dir, folder, size=3) == 0
    return folder


@pytest.fixture
def answers():
    rows = load("bundled/preference", split="train[:6]")
    prompts = [row["prompt"] for row in rows] * 2
    return prompts, [row["chosen"] for row in rows] + [row["rejected"] for row in rows]


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def test_members_differ_in_head_and_adapter_and_the_manifest_names_them(ensemble):
    state = json.loads((ensemble / "ensemble.json").read_text())
    assert state["members"] == [{"folder": f"member_{k}", "seed": 42 + k} for k in range(3)]
    assert len(state["normalization"]) == 3 and all(std > 0 for _, std in state["normalization"])
    first, second = weights(ensemble / "member_0"), weights(ensemble / "member_1")
    assert first.keys() == second.keys() and all(not torch.equal(first[name], second[name]) for name in first)
    assert any("score" in name for name in first)


def test_a_member_is_the_reward_model_of_its_seed(bundled_model_dir, ensemble, tmp_path):
    flags = {"model_name_or_path": bundled_model_dir, "output_dir": tmp_path, "seed": 43, **SETTINGS}
    arguments = [str(x) for name, value in flags.items() for x in (f"--{name}", value)]
    assert main(["train", "reward", "--skip_check", *arguments]) == 0
    alone, member = weights(tmp_path), weights(ensemble / "member_1")
    assert all(torch.equal(alone[name], member[name]) for name in alone)


def test_a_killed_run_goes_on_with_the_member_it_was_at(bundled_model_dir, ensemble, tmp_path, monkeypatch, capsys):
    from alignkit.trainers.reward import RewardTrainer

    class Killed(BaseException):
        pass

    original = RewardTrainer.training_step

    def dies(self, *args, **kwargs):
        if "member_1" in self.args.output_dir and self.state.global_step == 1:
            raise Killed
        return original(self, *args, **kwargs)

    monkeypatch.setattr(RewardTrainer, "training_step", dies)
    with pytest.raises(Killed):
        train(bundled_model_dir, tmp_path)
    assert len(json.loads((tmp_path / "ensemble.json").read_text())["members"]) == 1
    from alignkit.judges.members import read_members

    with pytest.raises(InputError, match="has 1 of 2 members"):
        read_members(str(tmp_path))
    steps = []

    def counts(self, *args, **kwargs):
        steps.append((self.args.output_dir[-1], self.state.global_step))
        return original(self, *args, **kwargs)

    monkeypatch.setattr(RewardTrainer, "training_step", counts)
    assert train(bundled_model_dir, tmp_path) == 0
    assert steps == [("1", 1)]
    for k in range(2):
        ours, theirs = weights(tmp_path / f"member_{k}"), weights(ensemble / f"member_{k}")
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    steps.clear()
    assert train(bundled_model_dir, tmp_path) == 0 and not steps  # nothing left to do
    assert train(bundled_model_dir, tmp_path, learning_rate=1e-3) == 2
    assert "`learning_rate` (was 0.01, now 0.001)" in capsys.readouterr().err
    assert train(bundled_model_dir, tmp_path, size=1) == 2
    (tmp_path / "ensemble.json").unlink()
    assert train(bundled_model_dir, tmp_path) == 2
    assert "holds members, but no ensemble.json" in capsys.readouterr().err


def test_adapters_on_one_base_score_as_each_alone_and_the_base_is_loaded_once(ensemble, answers, monkeypatch):
    from alignkit.judges import RewardModelJudge, classifier
    from alignkit.judges.reward_ensemble import RewardEnsembleJudge

    alone = [RewardModelJudge(str(ensemble / f"member_{k}")).score_batch(*answers) for k in range(3)]
    loads = []
    original = classifier.load_classifier
    monkeypatch.setattr(classifier, "load_classifier", lambda *args: loads.append(args) or original(*args))
    judge = RewardEnsembleJudge(str(ensemble))
    for _ in range(2):
        np.testing.assert_allclose(judge.member_scores(*answers), np.stack(alone, axis=1), atol=1e-5)
    assert len(loads) == 1 and np.ptp(alone) > 0.1
    judge.unload()
    np.testing.assert_allclose(judge.member_scores(*answers)[:, 2], alone[2], atol=1e-5)
    assert len(loads) == 2


@pytest.mark.parametrize("mode", ["mean", "wco", "uwo"])
def test_the_reward_combines_the_members_and_logs_their_spread(ensemble, answers, mode):
    from alignkit.rewards import resolve_reward_funcs

    logged = {}
    entry = {"name": "ensemble", "model": str(ensemble), "mode": mode, "coef": 0.7, "normalize": True}
    (reward,) = resolve_reward_funcs([entry]).funcs
    prompts, responses = answers
    values = reward(
        prompts=prompts,
        completions=responses,
        completion_ids=[[0]] * len(prompts),
        log_metric=lambda name, value: logged.update({name: value}),
        answer=["x"] * len(prompts),
    )
    members = torch.from_numpy(reward.function.ensemble.member_scores(*answers))
    expected = reward_ensemble(members, mode, 0.7)
    assert values == pytest.approx(expected.tolist())
    assert logged["ensemble/member_std"] == pytest.approx(members.std(dim=1, unbiased=False).mean().item())
    assert logged["ensemble/penalty"] == pytest.approx((members.mean(dim=1) - expected).mean().item(), abs=1e-9)
    assert (logged["ensemble/penalty"] > 1e-4) is (mode != "mean")


def test_a_completion_that_no_member_can_read_has_no_reward_and_is_counted(ensemble, answers):
    from alignkit.rewards.ensemble import EnsembleReward

    prompts, responses = answers
    reward = EnsembleReward(str(ensemble), max_length=190)
    scored = reward(prompts[:1] * 2, [responses[0], [{"role": "assistant", "content": "7 " * 200}]])
    assert scored[0] is not None and scored[1] is None and reward.counts["no_member"] == 1


def test_ppo_and_grpo_train_on_it(ensemble, bundled_model_dir, tmp_path):
    from online_worker import run

    entry = {"name": "ensemble", "model": str(ensemble), "mode": "uwo", "coef": 0.1, "batch_size": 4}
    for key, own in (("ppo", {"num_generations": 1}), ("online", {"num_generations": 2})):
        config = {"max_steps": 1, "per_device_train_batch_size": 4, "max_completion_length": 12, **own}
        task = {"model": bundled_model_dir, "key": key, "output_dir": str(tmp_path), "config": config, "rows": 8}
        log = run({**task, "lora": True}, reward_funcs=[entry]).state.log_history
        assert math.isfinite(log[0]["loss"]) and log[0]["ensemble/member_std"] > 0
        assert log[0]["rewards/ensemble/none"] == 0


def test_best_of_n_and_judges_read_the_folder(ensemble, answers, tmp_path):
    from alignkit.data.bundled import resolve_model
    from alignkit.judges import load_judge

    prompts, responses = answers
    rows = [
        {"prompt": prompts[k], "responses": [responses[k][0]["content"], responses[k + 6][0]["content"]]}
        for k in range(3)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "best.jsonl"
    arguments = [
        "--model",
        str(ensemble),
        "--responses",
        str(tmp_path / "rows.jsonl"),
        "--out",
        str(out),
        "--n",
        "1,2",
    ]
    assert main(["best-of-n", *arguments, "--aggregate", "wco"]) == 0
    picked = [json.loads(line) for line in out.read_text().splitlines()]
    judge = load_judge(str(ensemble), resolve=resolve_model)
    members = judge.member_scores(prompts[:3] + prompts[:3], responses[:3] + responses[6:9])
    worst = members.min(axis=1).reshape(2, 3)
    assert [row["index"] for row in picked] == worst.argmax(axis=0).tolist()
    assert [len(row["member_scores"]) for row in picked] == [3, 3, 3]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"mode": "min"}, "objective"),
        ({"mode": "uwo", "coef": -1.0}, "coef"),
        ({"model": ""}, "`model` is empty"),
        ({"model": "/no/such/folder"}, "holds no ensemble.json"),
        ({"colour": 1}, "no parameter 'colour'"),
    ],
)
def test_a_bad_entry_is_refused(ensemble, settings, message):
    from alignkit.rewards import resolve_reward_funcs

    with pytest.raises(InputError, match=message):
        resolve_reward_funcs([{"name": "ensemble", "model": str(ensemble), **settings}])


def test_models_given_one_by_one_have_no_scale_and_need_no_common_base(ensemble, answers, bundled_model_dir, tmp_path):
    from alignkit.rewards.ensemble import EnsembleReward

    two = [str(ensemble / "member_0"), str(ensemble / "member_1")]
    with pytest.raises(InputError, match="normalize needs the folder of an ensemble"):
        EnsembleReward(two, normalize=True)
    assert EnsembleReward(two, mode="wco")(*answers) == pytest.approx(
        EnsembleReward(str(ensemble)).ensemble.member_scores(*answers)[:, :2].min(axis=1).tolist(), abs=1e-5
    )


def test_one_member_is_no_ensemble(bundled_model_dir, tmp_path, capsys):
    assert train(bundled_model_dir, tmp_path, size=1) == 2
    assert "valid: at least 2" in capsys.readouterr().err

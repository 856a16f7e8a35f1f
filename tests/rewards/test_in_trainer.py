"""Guarded reward functions inside TRL's trainer: what lands in its log, and what a failure leaves behind."""

from pathlib import Path

import pytest

from alignkit.errors import InputError
from alignkit.rewards import resolve_reward_funcs


@pytest.fixture
def make_trainer(bundled_model_dir, tmp_path):
    def make(entries, **settings):
        from trl import GRPOConfig, GRPOTrainer

        import alignkit.data

        rewards = resolve_reward_funcs(entries, deadline=1.0)
        config = GRPOConfig(
            output_dir=str(tmp_path / "run"), max_steps=2, save_steps=1, logging_steps=1, num_generations=2,
            per_device_train_batch_size=4, max_completion_length=8, report_to="none", bf16=False, use_cpu=True,
            reward_weights=rewards.merged_weights(None), disable_tqdm=True, save_only_model=False, **settings,
        )  # fmt: skip
        dataset = alignkit.data.load("bundled/math", split="train[:16]")
        return GRPOTrainer(bundled_model_dir, rewards.funcs, args=config, train_dataset=dataset)

    return make


def gaps(completions, **columns):
    return [None, float("nan"), *[1.0] * (len(completions) - 2)]


async def patient(completions, **columns):
    return [float(len(completion[0]["content"])) for completion in completions]


def test_counts_and_weights_land_in_the_log(make_trainer):
    trainer = make_trainer([{"name": gaps, "weight": 2}, patient, "exact_answer", "boxed_once"])
    assert trainer.reward_weights.tolist() == [2.0, 1.0, 1.0, 1.0]
    trainer.train()
    log = trainer.state.log_history[0]
    assert log["rewards/gaps/none"] == log["rewards/gaps/nan"] == 1.0 and log["rewards/gaps/mean"] == 1.0
    assert log["rewards/patient/none"] == 0.0 and log["rewards/patient/mean"] > 0
    assert log["rewards/exact_answer/unparsable"] >= 0 and "rewards/boxed_once/mean" in log


def from_second_call(fault):
    calls = []

    def failing(completions, **columns):
        calls.append(1)
        return [1.0] * len(completions) if len(calls) == 1 else fault(completions)

    return failing


def hang(completions):
    while True:
        pass


@pytest.mark.parametrize(
    "fault, message",
    [
        (hang, "failing has not returned after 1 s on 4 completions"),
        (lambda completions: 1 / 0, "failing raised ZeroDivisionError"),
    ],
)
def test_a_failure_ends_the_run_with_its_checkpoint_intact(make_trainer, fault, message):
    trainer = make_trainer([from_second_call(fault)])
    with pytest.raises(InputError, match=f"reward function {message}.*The first completion: "):
        trainer.train()
    folder = Path(trainer.args.output_dir)
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-1"]
    good = make_trainer(["boxed_once"])
    good.train(resume_from_checkpoint=str(folder / "checkpoint-1"))
    assert good.state.global_step == 2

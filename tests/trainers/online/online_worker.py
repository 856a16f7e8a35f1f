"""One training process of the online tests: `python online_worker.py JSON`, alone or under `accelerate launch`.

The JSON holds {model, key ("trl" for TRL's own trainer), output_dir, rows, config, lora, kill_after}; with `kill_after`
the process kills itself with SIGKILL in the middle of the step after that one.
"""

import json
import os
import signal
import sys


def reward(completions, answer, **columns):
    """Right answers count 1; length breaks the ties, so that every group has a signal."""
    texts = [item[0]["content"] for item in completions]
    return [float(f"\\boxed{{{gold}}}" in text) + 0.01 * len(text) for text, gold in zip(texts, answer, strict=True)]


def format_reward(completions, **columns):
    """A second reward: 1 where the text holds a box."""
    return [float("boxed" in item[0]["content"]) for item in completions]


SETTINGS = {
    "max_steps": 3,
    "per_device_train_batch_size": 8,
    "num_generations": 4,
    "max_completion_length": 32,
    "learning_rate": 1e-3,
    "logging_steps": 1,
    "report_to": "none",
    "save_strategy": "no",
    "gradient_checkpointing": False,
    "bf16": False,
    "use_cpu": True,
    "disable_tqdm": True,
}


def build(task: dict, callbacks=(), **arguments):
    from peft import LoraConfig
    from transformers import TrainerCallback

    from alignkit.catalog import get
    from alignkit.data import load

    class KillAfter(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            if state.global_step == task.get("kill_after"):
                os.kill(os.getpid(), signal.SIGKILL)

    if task["key"] == "trl":
        from trl import GRPOConfig as config_class
        from trl import GRPOTrainer as trainer_class
    else:
        method = get(task["key"])
        config_class, trainer_class = method.load_config(), method.load_trainer()
    lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")
    return trainer_class(
        task["model"],
        reward_funcs=arguments.pop("reward_funcs", [reward]),
        args=config_class(output_dir=task["output_dir"], **{**SETTINGS, **task.get("config", {})}),
        train_dataset=load("bundled/math", split=f"train[:{task.get('rows', 64)}]"),
        peft_config=lora if task.get("lora") else None,
        callbacks=[KillAfter(), *callbacks],
        **arguments,
    )


def run(task: dict, **arguments):
    trainer = build(task, **arguments)
    resume = task.get("resume", False)
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model()
    return trainer


if __name__ == "__main__":
    run(json.loads(sys.argv[1])).accelerator.end_training()

"""One training process of the resume tests: `python resume_worker.py JSON`, alone or under `accelerate launch`.

The JSON holds {model, output_dir, rows, steps, kill_after, lora}; with `kill_after` the process kills itself with
SIGKILL in the middle of the step after that one.
"""

import json
import os
import signal
import sys


def build(task: dict):
    from peft import LoraConfig
    from transformers import TrainerCallback

    from alignkit import MADPOConfig, MADPOTrainer
    from alignkit.data import load

    class KillAfter(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            if state.global_step == task.get("kill_after"):
                os.kill(os.getpid(), signal.SIGKILL)

    config = MADPOConfig(
        output_dir=task["output_dir"],
        max_steps=task["steps"],
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        save_strategy="steps",
        save_steps=task.get("save_steps", 1),
        logging_steps=1,
        report_to="none",
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        disable_tqdm=True,
        max_length=256,
    )
    # Dropout, so that the random state matters to the weights.
    lora = LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.1, task_type="CAUSAL_LM")
    return MADPOTrainer(
        task["model"],
        args=config,
        train_dataset=load("bundled/preference_scored", split=f"train[:{task['rows']}]"),
        peft_config=lora if task["lora"] else None,
        callbacks=[KillAfter()],
    )


def run(task: dict) -> None:
    trainer = build(task)
    trainer.train(resume_from_checkpoint=True)
    trainer.save_model()
    trainer.end()


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))

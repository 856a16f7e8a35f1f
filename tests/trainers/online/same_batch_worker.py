"""The advantages that every estimator gives to one fixed global batch, by however many processes share it.

`python same_batch_worker.py JSON`, alone or under `accelerate launch`; the JSON holds {model, names, file, config}, and `methods` for
parts of a method with a trainer of its own.
"""

import json
import os
import sys
from pathlib import Path

from online_worker import SETTINGS, format_reward, reward


PROMPTS, GENERATIONS = 3, 4  # 12 rows: on two processes of 6 the second group straddles them


def fixed_completions(prompts, trainer):
    """A `rollout_func`: completions that depend on the place in the global batch alone, of different lengths."""
    from alignkit.data import load

    first = trainer.accelerator.process_index * len(prompts)
    solutions = load("bundled/math", split="train[:6]")
    tokenizer, ids, prompt_ids = trainer.processing_class, [], []
    for place, prompt in enumerate(prompts):
        row = first + place
        text = solutions[(row // GENERATIONS + (row % 3 == 1)) % 6]["solution"][: 60 - 3 * row]
        ids.append(tokenizer.encode(text + f" \\boxed{{{row}}}", add_special_tokens=False)[: 28 - row])
        prompt_ids.append(
            tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=True)["input_ids"]
        )
    return {"prompt_ids": prompt_ids, "completion_ids": ids, "logprobs": None}


def advantages(task: dict, name: str) -> dict:
    """{name of a tensor: gathered values} of one estimator."""
    from alignkit.catalog import get
    from alignkit.data import load

    method = get(task.get("methods", {}).get(name, "online"))
    local = PROMPTS * GENERATIONS // int(os.environ.get("WORLD_SIZE", 1))
    settings = {**SETTINGS, "per_device_train_batch_size": local, "self_checks": False}
    if method.key == "online":
        settings["advantage"] = name
    config = method.load_config()(output_dir=task["file"] + ".out", **{**settings, **task["config"].get(name, {})})
    data = load("bundled/math", split=f"train[:{PROMPTS}]")
    trainer = method.load_trainer()(
        task["model"],
        reward_funcs=[reward, format_reward],
        args=config,
        train_dataset=data,
        rollout_func=fixed_completions,
    )
    trainer.model.train()
    rows = [data[place // GENERATIONS] for place in range(PROMPTS * GENERATIONS)]
    first = trainer.accelerator.process_index * local
    output = trainer._generate_and_score_completions(rows[first : first + local])
    estimator = trainer.parts.get("advantage")
    names = ["advantages", *(estimator.extras(estimator.config) if estimator else ())]
    names += ["returns"] if "returns" in output else []  # what a critic's values went into
    return {
        key: (trainer._gather_tokens if output[key].dim() == 2 else trainer.accelerator.gather)(output[key])
        for key in names
    }


def run(task: dict) -> dict:
    return {name: {key: values.tolist() for key, values in advantages(task, name).items()} for name in task["names"]}


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    found = run(task)
    import accelerate

    if accelerate.PartialState().is_main_process:
        Path(task["file"]).write_text(json.dumps(found))
    accelerate.PartialState().destroy_process_group()

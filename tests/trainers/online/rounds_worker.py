"""One step with guidance and replay on however many processes; what each holds afterwards goes into a file.

`accelerate launch ... rounds_worker.py JSON`; the JSON holds {model, output_dir, file}.
"""

import json
import sys
from pathlib import Path

import toy_parts
from accelerate.utils import gather_object
from online_worker import run

from alignkit.parts.table import PARTS


def right(completions, answer, **columns):
    texts = [item[0]["content"] for item in completions]
    return [float(f"\\boxed{{{gold}}}" in text) for text, gold in zip(texts, answer, strict=True)]


def main(given: dict) -> dict:
    for slot in ("source", "guidance", "replay"):
        part = toy_parts.TOYS[slot]
        PARTS[slot]["toy"] = f"{part.__module__}:{part.__name__}"
    config = {"per_device_train_batch_size": given["rows"], "max_steps": 1}
    config |= {"source": "toy", "guidance": "toy", "replay": "toy"}
    task = {"model": given["model"], "key": "online", "output_dir": given["output_dir"], "config": config}
    trainer = run(task, reward_funcs=[right])
    again = right(trainer._completions, [row["answer"] for row in trainer._rows])
    found = {
        "processes": trainer.accelerator.num_processes,
        "rewards": gather_object([trainer.rollout_rewards[:, 0].tolist()]),
        "scored_again": gather_object(again),
        "origins": gather_object([int(origin) for origin in trainer._origins]),
        "guided": gather_object([trainer.parts["guidance"].rows]),
        "told": gather_object([trainer.parts["source"].told[0][0]]),
        "answers": gather_object([row["answer"] for row in trainer._rows]),
    }
    if trainer.accelerator.is_main_process:
        Path(given["file"]).write_text(json.dumps(found))
    trainer.accelerator.end_training()
    return found


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

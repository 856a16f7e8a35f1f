"""Several short trainings one after the other in the same processes; what each logged goes into a file.

`accelerate launch ... several_runs_worker.py JSON`; the JSON holds {tasks: {name: task of online_worker}, file}.
"""

import json
import os
import sys
from pathlib import Path

import torch
from online_worker import format_reward, reward, run


def main(given: dict) -> None:
    found = {}
    for name, task in given["tasks"].items():
        trainer = run(task, reward_funcs=[reward, format_reward])
        weights = torch.cat([item.detach().flatten() for item in trainer.model.parameters() if item.requires_grad])
        sums = trainer.accelerator.gather(weights.double().sum()[None]).tolist()
        logs = [entry for entry in trainer.state.log_history if "loss" in entry]
        found[name] = {"processes": trainer.accelerator.num_processes, "weights": sums, "logs": logs}
    if trainer.accelerator.is_main_process:
        Path(given["file"]).write_text(json.dumps(found))
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # the groups of several trainings are torn down in no order at exit, which may abort

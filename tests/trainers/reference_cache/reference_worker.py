"""One process that precomputes reference log-probabilities: `python reference_worker.py JSON`, alone or launched.

The JSON holds {model, cache, out, shard_rows, kill_after}; with `kill_after` the process kills itself with SIGKILL before
the pass over the pairs after that many.
"""

import json
import os
import signal
import sys
import tempfile


def run(task: dict) -> dict:
    """{chosen, rejected: log-probabilities of 24 pairs, computed: pairs that were not in the cache}."""
    from alignkit import DPOConfig, DPOTrainer
    from alignkit.data import load
    from alignkit.trainers.reference_cache import store

    computed = 0

    class Counting(DPOTrainer):
        def compute_ref_log_probs(self, model, inputs):
            nonlocal computed
            if computed >= task.get("kill_after", 1000):
                os.kill(os.getpid(), signal.SIGKILL)
            computed += len(inputs["input_ids"]) // 2
            return super().compute_ref_log_probs(model, inputs)

    store.SHARD_ROWS = task.get("shard_rows", store.SHARD_ROWS)
    config = DPOConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=4,
        report_to="none",
        bf16=False,
        use_cpu=True,
        disable_tqdm=True,
        precompute_ref_log_probs=True,
        reference_cache_dir=task["cache"],
    )
    data = load("bundled/preference_scored", split="train[:24]")
    trainer = Counting(task["model"], args=config, train_dataset=data)
    result = {side: trainer.train_dataset[f"ref_{side}_logps"][:] for side in ("chosen", "rejected")}
    result["computed"] = computed
    if "out" in task and trainer.accelerator.is_main_process:
        with open(task["out"], "w", encoding="utf-8") as file:
            json.dump(result, file)
    return result


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))

"""All online methods on one task, with the same budget: accuracy, entropy, and the share of groups with a signal.

    python benchmarks/claims/league.py                          # 5 seeds, about 30 CPU minutes; resumes where it stopped
    python benchmarks/claims/league.py --methods grpo mhpo --seeds 2

The bundled model with LoRA on `bundled/math`, reward 1 for the right final answer. Every method generates the same number
of completions from the same prompts and makes the same number of updates, twice on each completion so that the policy
losses have a ratio to act on. The greedy accuracy is measured on problems that nothing was trained on; a method's
difference to GRPO is paired by seed. One small task at one learning rate: a check that all work, not a ranking of papers.
"""

import argparse
import gc
import json
import math
import statistics
import tempfile
from pathlib import Path

from common import BLUE, GREY, REPOSITORY, plt

from alignkit.catalog import METHODS
from alignkit.config import load_run
from alignkit.data import load
from alignkit.data.bundled import resolve_model
from alignkit.generation import SamplingParams, load_generator
from alignkit.rewards import GradingPool
from alignkit.trainers.launch import build_trainer


# CGPO needs constraints and a baseline answer of each row: another task.
KEYS = [
    method.key for method in METHODS.values() if method.family == "online" and method.key not in ("online", "cgpo")
]
BUDGET = {
    "model_name_or_path": "bundled/tiny-math",
    "use_peft": True,
    "lora_r": 16,
    "lora_alpha": 32,
    "lora_dropout": 0.0,
    "lora_target_modules": "all-linear",
    "dataset_name": "bundled/math",
    "num_generations": 8,
    "per_device_train_batch_size": 80,  # 10 prompts: RiskPO bundles 5 of them
    "num_iterations": 2,
    "max_steps": 12,
    "max_completion_length": 48,
    "learning_rate": 1e-3,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "self_checks": False,
}
# What a method cannot run without.
NEEDED = {"copo": {"answer_extractor": "boxed"}}
# Student's t, two-sided 95 %, by degrees of freedom.
T_VALUES = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=KEYS, choices=KEYS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max_steps", type=int, default=BUDGET["max_steps"])
    parser.add_argument("--problems", type=int, default=200, help="held-out problems of the evaluation")
    parser.add_argument("--output", type=Path, default=REPOSITORY)
    args = parser.parse_args(argv)
    folder = args.output / "benchmarks" / "claims" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "league.json"
    runs = json.loads(path.read_text())["runs"] if path.is_file() else {}
    with GradingPool() as pool:
        start = greedy_accuracy(resolve_model(BUDGET["model_name_or_path"]), args.problems, pool)
        for seed in range(args.seeds):
            for key in args.methods:
                name = f"{key}/{seed}/{args.max_steps}"
                if name not in runs:
                    runs[name] = run(key, seed, args.max_steps, args.problems, pool)
                    print(
                        f"{name:<24} accuracy {runs[name]['accuracy']:.3f}  entropy {runs[name]['entropy']:.3f}",
                        flush=True,
                    )
                    path.write_text(
                        json.dumps({"quick": False, "start": start, "budget": BUDGET, "runs": runs}, indent=1) + "\n"
                    )
    table = league_table(runs, args.methods, args.seeds, args.max_steps)
    path.write_text(
        json.dumps({"quick": False, "start": start, "budget": BUDGET, "table": table, "runs": runs}, indent=1) + "\n"
    )
    print_table(table, start)
    draw(table, start, args.output)


def run(key: str, seed: int, max_steps: int, problems: int, pool: GradingPool) -> dict[str, float]:
    """Train one method with one seed; its held-out accuracy and what its log says."""
    with tempfile.TemporaryDirectory() as folder:
        given = {**BUDGET, **NEEDED.get(key, {}), "seed": seed, "max_steps": max_steps, "output_dir": folder}
        flags = [text for name, value in given.items() for text in (f"--{name}", str(value))]
        trainer = build_trainer(load_run(key, None, [*flags, "--reward_funcs", "exact_answer"]))
        trainer.train()
        trainer.save_model(folder)
        logs = [entry for entry in trainer.state.log_history if "loss" in entry]
        del trainer
        gc.collect()
        accuracy = greedy_accuracy(folder, problems, pool)
    last = [entry["entropy"] for entry in logs[-5:]]
    flat = [entry["frac_reward_zero_std"] for entry in logs if "frac_reward_zero_std" in entry]
    return {
        "accuracy": accuracy,
        "entropy": statistics.fmean(last),
        "signal": 1 - statistics.fmean(flat),
        "finite": float(all(math.isfinite(entry["loss"]) for entry in logs)),
    }


def greedy_accuracy(model: str, problems: int, pool: GradingPool) -> float:
    """Share of held-out problems answered rightly, one greedy answer each."""
    rows = load("bundled/math_eval", split=f"train[:{problems}]")
    generator = load_generator(model)
    sampling = SamplingParams(0.0, max_new_tokens=BUDGET["max_completion_length"])
    texts = {item.index: item.text for item in generator.generate(rows["prompt"], sampling, [0] * len(rows))}
    generator.close()
    grades = pool.grade([(answer, texts[index]) for index, answer in enumerate(rows["answer"])])
    return statistics.fmean(grade.correct for grade in grades)


def league_table(runs: dict, methods: list[str], seeds: int, max_steps: int) -> list[dict]:
    """One row per method, best first: means over the seeds, and the paired difference to GRPO with its interval."""
    table = []
    for key in methods:
        own = [runs[f"{key}/{seed}/{max_steps}"] for seed in range(seeds)]
        row = {"method": key, **{name: statistics.fmean(item[name] for item in own) for name in own[0]}}
        row["accuracy_error"] = half_width([item["accuracy"] for item in own])
        if "grpo" in methods:
            plain = [runs[f"grpo/{seed}/{max_steps}"] for seed in range(seeds)]
            gaps = [ours["accuracy"] - base["accuracy"] for ours, base in zip(own, plain, strict=True)]
            row["difference"], row["difference_error"] = statistics.fmean(gaps), half_width(gaps)
        table.append(row)
    return sorted(table, key=lambda row: -row["accuracy"])


def half_width(values: list[float]) -> float:
    """Half of the 95 % interval of a mean over few seeds (Student's t)."""
    if len(values) < 2:
        return math.nan
    return T_VALUES.get(len(values) - 1, 1.96) * statistics.stdev(values) / len(values) ** 0.5


def print_table(table: list[dict], start: float) -> None:
    print(f"Start: {start:.3f}\n| method | accuracy | difference to grpo | entropy at the end | groups with signal |")
    print("|---|---|---|---|---|")
    for row in table:
        gap = f"{row['difference']:+.3f} ± {row['difference_error']:.3f}" if "difference" in row else ""
        print(
            f"| {row['method']} | {row['accuracy']:.3f} ± {row['accuracy_error']:.3f} | {gap} | {row['entropy']:.3f} | "
            f"{row['signal']:.2f} |"
        )


def draw(table: list[dict], start: float, output: Path) -> None:
    """Accuracy of every method with its interval, beside the start."""
    figure, axis = plt.subplots(figsize=(7, 0.35 * len(table) + 1.4))
    names = [row["method"] for row in reversed(table)]
    values = [row["accuracy"] for row in reversed(table)]
    axis.errorbar(
        values, names, xerr=[row["accuracy_error"] for row in reversed(table)], fmt="o", color=BLUE, capsize=3
    )
    axis.axvline(start, color=GREY, linestyle="--", label=f"start ({start:.2f})")
    axis.set_xlabel("held-out greedy accuracy (mean over seeds, 95 % interval)")
    axis.legend()
    figure.tight_layout()
    path = output / "docs" / "img" / "league.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


if __name__ == "__main__":
    main()

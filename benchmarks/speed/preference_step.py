"""What a training step of alignkit's preference trainers costs beside `trl.DPOTrainer`'s: paired, interleaved.

    python benchmarks/speed/preference_step.py                      # the bundled model, on what device there is
    python benchmarks/speed/preference_step.py --model NAME --batch_size 8 --lora

Both trainers get the same model, data, batch and settings. Each round times one whole optimisation step (forward,
reference, backward, clip, update) of each, in alternating order, on the same batch; the ratio of a round is free of
whatever else the machine was doing. Prints the median ratio with a bootstrap interval and writes JSON.
"""

import argparse
import json
import random
import statistics
import time
from pathlib import Path

import torch
from peft import LoraConfig
from trl import DPOConfig as TRLDPOConfig
from trl import DPOTrainer as TRLDPOTrainer

from alignkit import DPOConfig, DPOTrainer, MADPOConfig, MADPOTrainer, MODPOConfig, MODPOTrainer
from alignkit.data import load
from alignkit.data.bundled import resolve_model


METHODS = {
    "dpo": (DPOTrainer, DPOConfig),
    "madpo": (MADPOTrainer, MADPOConfig),
    "modpo": (MODPOTrainer, MODPOConfig),
}


def build(trainer_class, config_class, args, data):
    config = config_class(
        output_dir="outputs/speed",
        per_device_train_batch_size=args.batch_size,
        learning_rate=1e-5,
        max_length=args.max_length,
        report_to="none",
        save_strategy="no",
        gradient_checkpointing=False,
        bf16=torch.cuda.is_available(),
    )
    lora = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM") if args.lora else None
    trainer = trainer_class(resolve_model(args.model), args=config, train_dataset=data, peft_config=lora)
    trainer.create_optimizer()
    trainer.model, trainer.optimizer = trainer.accelerator.prepare(trainer.model, trainer.optimizer)
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer, iter(trainer.get_train_dataloader())


def step(trainer, batches) -> float:
    """Seconds of one optimisation step on the next batch."""
    batch = next(batches)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    trainer.training_step(trainer.model, batch)
    trainer.accelerator.clip_grad_norm_(trainer.model.parameters(), 1.0)
    trainer.optimizer.step()
    trainer.model.zero_grad()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def interval(values: list[float], draws: int = 2000) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    generator = random.Random(0)
    medians = sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled/tiny-math")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--max_length", type=int, default=256)
    parser.add_argument("--lora", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/speed/results/preference_step.json"))
    args = parser.parse_args()

    data = load("bundled/preference_scored", split="train")
    data = data.select(index % len(data) for index in range((args.rounds + 5) * args.batch_size))
    table = {}
    for name in args.methods:
        theirs = build(TRLDPOTrainer, TRLDPOConfig, args, data)
        ours = build(*METHODS[name], args, data)
        ratios = []
        for number in range(args.rounds + 5):
            order = [("trl", theirs), ("alignkit", ours)]
            seconds = {who: step(*pair) for who, pair in (order if number % 2 else reversed(order))}
            if number >= 5:  # warm-up
                ratios.append(seconds["alignkit"] / seconds["trl"])
        low, high = interval(ratios)
        table[name] = {"ratio": statistics.median(ratios), "ci_low": low, "ci_high": high, "rounds": args.rounds}
        print(f"{name:<6} alignkit / TRL: {table[name]['ratio']:.3f}  (95 % interval {low:.3f} to {high:.3f})")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    settings = {"model": args.model, "batch_size": args.batch_size, "lora": args.lora, "device": device}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"settings": settings, "methods": table}, indent=2) + "\n")


if __name__ == "__main__":
    main()

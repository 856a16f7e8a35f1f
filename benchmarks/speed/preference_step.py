"""What a training step of alignkit's preference trainers costs beside `trl.DPOTrainer`'s: paired, interleaved.

    python benchmarks/speed/preference_step.py                      # the bundled model, on what device there is
    python benchmarks/speed/preference_step.py --model NAME --batch_size 8 --lora

Both trainers get the same model, data, batch and settings. Each round times one whole optimisation step (forward,
reference, backward, clip, update) of each, in alternating order, on the same batch; the ratio of a round is free of
whatever else the machine was doing. Prints the median ratio with a bootstrap interval and writes JSON.
"""

import argparse
from pathlib import Path

import torch
from paired import WARM_UP, paired_ratios, prepare, report, step_seconds
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
    return prepare(trainer), iter(trainer.get_train_dataloader())


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
    data = data.select(index % len(data) for index in range((args.rounds + WARM_UP) * args.batch_size))
    table = {}
    for name in args.methods:
        theirs = build(TRLDPOTrainer, TRLDPOConfig, args, data)
        ours = build(*METHODS[name], args, data)
        table[name] = paired_ratios(*(step_of(*pair) for pair in (theirs, ours)), args.rounds)
    report(table, {"model": args.model, "batch_size": args.batch_size, "lora": args.lora}, args.out)


def step_of(trainer, batches):
    """What times the next step of a trainer."""
    return lambda number: step_seconds(trainer, next(batches))


if __name__ == "__main__":
    main()

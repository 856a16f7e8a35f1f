"""What a step of alignkit's online trainer costs beside `trl.GRPOTrainer`'s: paired, interleaved.

    python benchmarks/speed/online_step.py                       # the bundled model, on what device there is
    python benchmarks/speed/online_step.py --model NAME --batch_size 16 --lora

Both trainers get the same model, prompts, random state and settings, so that they generate the same completions. Each
round times one whole step of each (generation, rewards, forward, backward, update), in alternating order. Prints the
median ratio with a bootstrap interval and writes JSON.
"""

import argparse
from pathlib import Path

import torch
from paired import paired_ratios, prepare, report, step_seconds
from peft import LoraConfig
from trl import GRPOConfig, GRPOTrainer

from alignkit import OnlineConfig, OnlineTrainer
from alignkit.data import load
from alignkit.data.bundled import resolve_model


# What is chosen beside the defaults.
CHOICES = {
    "defaults": {},
    "mhpo": {"policy_loss": "mhpo"},
    "bnpo": {"advantage": "bnpo"},
}


def boxed(completions, answer, **columns):
    """1 for the right answer in the box."""
    texts = [item[-1]["content"] for item in completions]
    return [float(f"\\boxed{{{gold}}}" in text) for text, gold in zip(texts, answer, strict=True)]


def build(trainer_class, config_class, args, **parts):
    config = config_class(
        output_dir="outputs/speed",
        per_device_train_batch_size=args.batch_size,
        num_generations=args.num_generations,
        max_completion_length=args.max_completion_length,
        learning_rate=1e-5,
        beta=args.beta,
        report_to="none",
        save_strategy="no",
        gradient_checkpointing=False,
        bf16=torch.cuda.is_available(),
        **parts,
    )
    lora = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM") if args.lora else None
    trainer = trainer_class(
        resolve_model(args.model),
        reward_funcs=[boxed],
        args=config,
        train_dataset=load("bundled/math", split="train"),
        peft_config=lora,
    )
    return prepare(trainer)


def step_of(trainer, args):
    """What times a step of a trainer: on the same prompts and from the same random state in the same round."""
    data, prompts = trainer.train_dataset, args.batch_size // args.num_generations

    def timed(number):
        rows = [data[(number * prompts + place) % len(data)] for place in range(prompts)]
        torch.manual_seed(number)
        return step_seconds(trainer, [row for row in rows for _ in range(args.num_generations)])

    return timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled/tiny-math")
    parser.add_argument("--choices", nargs="+", default=list(CHOICES), choices=list(CHOICES))
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--num_generations", type=int, default=8)
    parser.add_argument("--max_completion_length", type=int, default=48)
    parser.add_argument("--beta", type=float, default=0.0)
    parser.add_argument("--lora", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/speed/results/online_step.json"))
    args = parser.parse_args()

    table = {}
    for name in args.choices:
        theirs = step_of(build(GRPOTrainer, GRPOConfig, args), args)
        ours = step_of(build(OnlineTrainer, OnlineConfig, args, **CHOICES[name]), args)
        table[name] = paired_ratios(theirs, ours, args.rounds)
    settings = ("model", "batch_size", "num_generations", "max_completion_length", "beta", "lora")
    report(table, {name: getattr(args, name) for name in settings}, args.out)


if __name__ == "__main__":
    main()

"""How much faster the training part of a GRPO step is when each prompt is computed once: beside `trl.GRPOTrainer`.

    OMP_NUM_THREADS=1 python benchmarks/speed/groups.py --quick         # a minute
    OMP_NUM_THREADS=1 python benchmarks/speed/groups.py                 # four shapes (P, C, G), 20 rounds each

Both trainers are given the same completions through TRL's `rollout_func`, so that nothing is generated; everything else
of a step is theirs: rewards, advantages, with `--beta` the reference pass, forward, backward, clip, update. Completion
lengths are ragged: uniform from half of C to C. The prompt has P tokens. Prints the table of docs/speed.md, writes JSON.

On a CPU TRL's fused head scores every place of the padded batch, on a GPU only the completions; with `--vocabulary 128` the
head costs next to nothing, and what is left is the backbone.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from paired import prepare
from side_by_side import TOKENS, compare, small_model, write
from trl import GRPOConfig, GRPOTrainer

from alignkit import OnlineConfig, OnlineTrainer


# (tokens of the prompt, tokens of the longest completion, completions of a prompt)
SHAPES = [(64, 256, 8), (192, 192, 8), (512, 64, 8), (512, 32, 16)]


class Rollouts:
    """Completions to train on, the same for every trainer in the same round."""

    def __init__(self, prompt: int, completion: int, shortest: int | None = None) -> None:
        self.prompt, self.completion = prompt, completion
        self.shortest = completion // 2 if shortest is None else shortest
        self.round = 0
        self.tokens = 0

    def __call__(self, prompts, trainer):
        generator = np.random.default_rng(self.round)
        size = trainer.num_generations
        prompt_ids, completion_ids = [], []
        for _ in range(len(prompts) // size):
            prompt = generator.integers(*TOKENS, self.prompt).tolist()
            for _ in range(size):
                length = generator.integers(self.shortest, self.completion + 1)
                prompt_ids.append(prompt)
                completion_ids.append(generator.integers(*TOKENS, length).tolist())
        self.tokens = sum(map(len, completion_ids)) + sum(map(len, prompt_ids)) // size
        return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": None}


def reward(completions, **columns):
    """Something that differs between completions."""
    return [float(len(text) % 7) for text in completions]


def build(trainer_class, config_class, model, rollouts, shape, args, given=None, **settings):
    """A prepared trainer; `given` are further arguments of the trainer, `settings` of its configuration."""
    from datasets import Dataset

    config = config_class(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=args.prompts * shape[2],
        num_generations=shape[2],
        max_completion_length=shape[1],
        beta=args.beta,
        learning_rate=1e-6,
        report_to="none",
        save_strategy="no",
        bf16=torch.cuda.is_available(),
        **{"gradient_checkpointing": False, **settings},
    )
    data = Dataset.from_dict({"prompt": ["given"] * 64})
    return prepare(
        trainer_class(
            model, reward_funcs=[reward], args=config, train_dataset=data, rollout_func=rollouts, **(given or {})
        )
    )


def measure(shape, model, args, given=dict, **settings):
    """The row of the table for one shape (P, C, G)."""
    rollouts = Rollouts(shape[0], shape[1])
    theirs = build(GRPOTrainer, GRPOConfig, model, rollouts, shape, args, given(), **settings)
    settings["shared_prefix"] = args.shared_prefix
    ours = build(OnlineTrainer, OnlineConfig, model, rollouts, shape, args, given(), **settings)
    return interleave(theirs, ours, rollouts, args, shape)


def interleave(theirs, ours, rollouts, args, shape):
    rows = [{"prompt": "given"}] * (args.prompts * shape[2])

    def batches(number):
        rollouts.round = number
        rollouts([None] * len(rows), theirs)
        return rows, rows, rollouts.tokens

    return compare(theirs, ours, batches, args.rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", type=int, default=range(len(SHAPES)), help=f"places in {SHAPES}")
    parser.add_argument("--shared_prefix", default="auto", choices=["auto", "mask", "grouped", "off"])
    parser.add_argument("--prompts", type=int, default=1, help="prompts of a step")
    parser.add_argument("--beta", type=float, default=0.0, help="above 0: with a reference pass")
    parser.add_argument("--vocabulary", type=int, default=4096, help="of the model; small: hardly any LM head")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="4 rounds of each")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/speed/results/groups.json"))
    args = parser.parse_args()
    if args.quick:
        args.rounds = 4

    table = {}
    with tempfile.TemporaryDirectory() as folder:
        model = small_model(Path(folder), args.vocabulary)
        for place in args.shapes:
            shape = SHAPES[place]
            table["P {}, C {}, G {}".format(*shape)] = measure(shape, model, args)
            write(
                table,
                {name: getattr(args, name) for name in ("shared_prefix", "prompts", "beta", "vocabulary")},
                args.out,
            )


if __name__ == "__main__":
    main()

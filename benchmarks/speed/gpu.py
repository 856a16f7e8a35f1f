"""The speed of shared prompts on a GPU: a model of 0.5 to 1.5 B parameters with random weights, in bf16 and NF4.

    python benchmarks/speed/gpu.py                                  # 0.6 B, bf16 and NF4, pairs and groups
    python benchmarks/speed/gpu.py --size 1.5b --precisions bf16 --forms mask

LoRA on every linear layer, gradient checkpointing as asked for, at full lengths. alignkit runs beside TRL in turn, with
TRL's padded rows on SDPA (or on `--trl_attention`). The forms: `grouped` is SDPA, `mask` is FlexAttention on a GPU, `auto`
chooses. Prints the table of docs/speed.md and writes JSON; ends with status 2 where there is no CUDA device.
"""

import argparse
import gc
import sys
import tempfile
from pathlib import Path

import torch
from groups import SHAPES, measure
from lengths import DATASETS
from pairs import batches_of, build, drawn
from peft import LoraConfig
from side_by_side import compare, random_model, write
from transformers import BitsAndBytesConfig
from trl import DPOConfig as TRLDPOConfig
from trl import DPOTrainer as TRLDPOTrainer

from alignkit import DPOConfig, DPOTrainer


# Shapes of Qwen3: hidden size, layers, attention heads, key/value heads, their size, intermediate size, vocabulary.
SIZES = {
    "0.6b": (1024, 28, 16, 8, 128, 3072, 151936),
    "1.5b": (2048, 24, 16, 8, 128, 6144, 151936),
}


def given(precision):
    """Arguments of a trainer: LoRA, and for NF4 the quantisation of its base."""
    arguments = {"peft_config": LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")}
    if precision == "nf4":
        arguments["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    return arguments


def pair_rows(model, precision, form, args):
    """(data set, row of the table) of every length distribution."""
    settings = {
        "gradient_checkpointing": args.gradient_checkpointing,
        "model_init_kwargs": {"dtype": "bfloat16", "attn_implementation": args.trl_attention},
    }
    theirs = build(TRLDPOTrainer, TRLDPOConfig, model, args.pairs, given(precision), **settings)
    settings["model_init_kwargs"] = {"dtype": "bfloat16", "attn_implementation": "sdpa"}
    ours = build(DPOTrainer, DPOConfig, model, args.pairs, given(precision), **settings, shared_prefix=form)
    for name in args.datasets:
        yield name, compare(theirs, ours, batches_of(theirs, ours, drawn(name, args)), args.rounds)


def group_rows(model, precision, args):
    """(shape, row of the table) of every shape of groups."""
    settings = {
        "gradient_checkpointing": args.gradient_checkpointing,
        "model_init_kwargs": {"dtype": "bfloat16", "attn_implementation": "sdpa"},
    }
    for shape in SHAPES:
        yield "P {}, C {}, G {}".format(*shape), measure(shape, model, args, lambda: given(precision), **settings)


def run(args) -> None:
    """Measure every precision and form; the table is written after each row."""
    names = ("size", "precisions", "forms", "pairs", "prompts", "scale", "gradient_checkpointing", "trl_attention")
    settings = {name: getattr(args, name) for name in names}
    table: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(Path(folder), *SIZES[args.size], dtype=torch.bfloat16)
        for precision in args.precisions:
            for form in args.forms:
                args.shared_prefix = form
                for rows in (pair_rows(model, precision, form, args), group_rows(model, precision, args)):
                    for name, row in rows:
                        table[f"{precision}, {form}, {name}"] = row
                        write(table, settings, args.out)
                    gc.collect()
                    if torch.cuda.is_available():
                        torch.cuda.empty_cache()


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="0.6b", choices=list(SIZES))
    parser.add_argument("--precisions", nargs="+", default=["bf16", "nf4"], choices=["bf16", "nf4"])
    parser.add_argument("--forms", nargs="+", default=["auto", "grouped", "mask"], choices=["auto", "grouped", "mask"])
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS), choices=list(DATASETS))
    parser.add_argument("--pairs", type=int, default=8, help="pairs of a step")
    parser.add_argument("--prompts", type=int, default=4, help="prompts of a GRPO step")
    parser.add_argument("--scale", type=float, default=1.0, help="all lengths of pairs are multiplied by this")
    parser.add_argument("--beta", type=float, default=0.0, help="of GRPO; above 0: with a reference pass")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--gradient_checkpointing", action="store_true")
    parser.add_argument("--trl_attention", default="sdpa", help="attention of TRL's trainer on pairs")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/speed/results/gpu.json"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options = parse()
    if not torch.cuda.is_available():
        print("gpu.py measures on a CUDA device and finds none here; nothing was run.", file=sys.stderr)
        sys.exit(2)
    run(options)

"""Pre-training of the bundled model from nothing: a Qwen3-shaped causal LM on arithmetic word problems."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from tiny.problems import draw_answer, draw_problem
from tiny.tokenizer import MAX_LENGTH


if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

DRILL_LENGTH = 64
STORY_SHARE = 0.3
ADAM_LEARNING_RATE = 3e-3
WARM_UP_STEPS = 30


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3ForCausalLM:
    """A fresh float32 Qwen3 with 4 layers of width 128 and tied embeddings: 0.8M parameters."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        dtype="float32",
    )
    return Qwen3ForCausalLM(config)


def draw_chats(rng: random.Random, tokenizer: PreTrainedTokenizerFast, size: int) -> dict[str, Tensor]:
    """`input_ids`, `attention_mask`, `labels`, each [B, L], right-padded; labels cover the completion and its eos."""
    import torch

    heads, tails = [], []
    for _ in range(size):
        problem = draw_problem(rng, "pretrain")
        chat = [{"role": "user", "content": problem.text}]
        heads.append(tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))
        tails.append(draw_answer(rng, problem) + tokenizer.eos_token)
    texts = [head + tail for head, tail in zip(heads, tails, strict=True)]
    batch = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt", return_token_type_ids=False)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    positions = torch.arange(labels.shape[1])[None]
    head_lengths = torch.tensor([len(ids) for ids in tokenizer(heads)["input_ids"]])[:, None]
    return {**batch, "labels": labels.masked_fill(positions < head_lengths, -100)}


def draw_drills(rng: random.Random, tokenizer: PreTrainedTokenizerFast, size: int) -> dict[str, Tensor]:
    """Plain text, `DRILL_LENGTH` tokens a row, of short problems each followed by its steps; every token is a label.

    Several problems share a row without a chat's headers, so operands are copied and added far more often per token.
    """
    texts = []
    for _ in range(size):
        text = ""
        while len(text) < DRILL_LENGTH:
            problem = draw_problem(rng, "pretrain")
            if rng.random() < STORY_SHARE:
                text += problem.text.split(".")[0] + "\n"
            text += "\n".join(problem.steps) + "\n"
        texts.append(text[:DRILL_LENGTH])
    input_ids = tokenizer(texts, return_tensors="pt")["input_ids"]
    return {"input_ids": input_ids, "labels": input_ids}


def train(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
) -> float:
    """Muon on the matrices, AdamW on the rest, warm-up and cosine decay; returns the last loss.

    Drills and chats take turns. The text depends on `seed` alone; the weights repeat bit for bit with the same torch
    build and thread count.
    """
    import torch
    from tqdm.auto import tqdm

    rng = random.Random(seed)
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    optimizers = [
        torch.optim.Muon(matrices, lr=learning_rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=ADAM_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    schedulers = [
        torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: min((step + 1) / WARM_UP_STEPS, 0.5 * (1 + math.cos(math.pi * step / steps)) + 0.01),
        )
        for optimizer in optimizers
    ]
    loss = torch.zeros(())
    model.train()
    bar = tqdm(range(steps), desc="pre-training")
    for step in bar:
        draw = draw_drills if step % 3 else draw_chats
        model.zero_grad()
        loss = model(**draw(rng, tokenizer, batch_size)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
        if step % 50 == 49:
            bar.set_postfix(loss=f"{loss.item():.3f}")
    model.eval()
    return loss.item()

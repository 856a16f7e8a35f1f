"""The training data as the trainer sees it: latents and text embeddings from disk, or images and prompts to encode."""

import hashlib
import json
import os
from typing import Any

import torch
from torch.utils.data import Dataset

from .families import Conditions, Family
from .pixels import to_pixels
from .shards import TensorShards


PROMPT = "prompt"


class RawExamples(Dataset):
    """Rows {row, prompt, pixels: {column: [3, R, R]}, time_ids: {column: [6]}}, encoded when a batch is used."""

    def __init__(self, dataset: Any, columns: tuple[str, ...], resolution: int):
        self.dataset, self.columns, self.resolution = dataset, columns, resolution

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> dict[str, Any]:
        example = self.dataset[row]
        images = {column: to_pixels(example[column], self.resolution) for column in self.columns}
        return {
            "row": row,
            "prompt": example[PROMPT],
            "pixels": {column: pixels for column, (pixels, _) in images.items()},
            "time_ids": {column: time_ids for column, (_, time_ids) in images.items()},
        }


class CachedExamples(Dataset):
    """Rows {row, conditions: {name: tensor}, latents: {column: [C, H, W]}, time_ids: {column: [6]}} from disk."""

    def __init__(
        self, images: TensorShards, prompts: TensorShards, prompt_of_row: list[int], columns: tuple[str, ...]
    ):
        self.images, self.prompts, self.prompt_of_row, self.columns = images, prompts, prompt_of_row, columns

    def __len__(self) -> int:
        return len(self.prompt_of_row)

    def __getitem__(self, row: int) -> dict[str, Any]:
        tensors = self.images[row]
        return {
            "row": row,
            "conditions": self.prompts[self.prompt_of_row[row]],
            "latents": {column: tensors[f"{column}.latents"] for column in self.columns},
            "time_ids": {column: tensors[f"{column}.time_ids"] for column in self.columns},
        }


def cached_examples(
    raw: RawExamples, family: Family, folder: str, batch_size: int, process: int = 0, processes: int = 1
) -> CachedExamples:
    """Encode what is not in `folder` yet; every prompt once, however many rows it has.

    The sub-folders are named by what decides their content: rows, columns, resolution, and the weights that encode.
    Latents and embeddings are float32.
    """
    prompts = [str(prompt) for prompt in raw.dataset[PROMPT]]
    unique = list(dict.fromkeys(prompts))
    position = {prompt: index for index, prompt in enumerate(unique)}

    def encode_images(rows: list[int]) -> dict[str, torch.Tensor]:
        batch = collate([raw[row] for row in rows])
        tensors = {f"{column}.latents": family.encode_image(batch["pixels"][column]) for column in raw.columns}
        return tensors | {f"{column}.time_ids": batch["time_ids"][column] for column in raw.columns}

    def encode_prompts(rows: list[int]) -> dict[str, torch.Tensor]:
        return family.encode_prompt([unique[row] for row in rows])

    rows_key = [raw.dataset._fingerprint, raw.columns, raw.resolution, weights_key([family.pipeline.vae])]
    images = TensorShards(os.path.join(folder, f"images-{digest(rows_key)}"), len(raw))
    images.build(encode_images, batch_size, "Encoding images", process, processes)
    text_key = [unique, type(family.pipeline).__name__, weights_key(family.text_encoders)]
    texts = TensorShards(os.path.join(folder, f"prompts-{digest(text_key)}"), len(unique))
    texts.build(encode_prompts, batch_size, "Encoding prompts", process, processes)
    return CachedExamples(images, texts, [position[prompt] for prompt in prompts], raw.columns)


def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch: tensors stacked, also within mappings, row numbers as a tensor, texts as a list."""
    batch: dict[str, Any] = {}
    for name, first in examples[0].items():
        values = [example[name] for example in examples]
        if isinstance(first, dict):
            batch[name] = collate(values)
        elif isinstance(first, torch.Tensor):
            batch[name] = torch.stack(values)
        else:
            batch[name] = torch.tensor(values) if isinstance(first, int) else values
    return batch


def encode_batch(batch: dict[str, Any], family: Family) -> dict[str, Any]:
    """A batch of `RawExamples` as one of `CachedExamples`; such a one is returned unchanged."""
    if "latents" in batch:
        return batch
    latents = {column: family.encode_image(pixels) for column, pixels in batch["pixels"].items()}
    conditions: Conditions = family.encode_prompt(batch["prompt"])
    return {"row": batch["row"], "conditions": conditions, "latents": latents, "time_ids": batch["time_ids"]}


def digest(value: Any) -> str:
    """A short digest of what JSON can hold."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def weights_key(modules: list[torch.nn.Module]) -> str:
    """Digest of frozen weights: name, shape, dtype and first entries of every tensor."""
    state = hashlib.sha256()
    for module in modules:
        for name, value in module.state_dict().items():
            head = value.detach().flatten()[:64].float().cpu().numpy().tobytes()
            state.update(f"{name}{tuple(value.shape)}{value.dtype}".encode() + head)
    return state.hexdigest()[:16]

"""Tensors of many rows on disk, computed once: safetensors shards, each written whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file


ROWS_PER_SHARD = 64


class TensorShards:
    """Rows 0 .. count-1 of named tensors in a folder, which a fingerprint of what they were computed from should name."""

    def __init__(self, folder: str | os.PathLike, count: int):
        self.folder, self.count = Path(folder), count

    def path(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:06d}.safetensors"

    def build(
        self,
        compute: Callable[[list[int]], dict[str, torch.Tensor]],
        batch_size: int,
        description: str,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        """Compute the shards that are missing; a killed run goes on where it stopped.

        Args:
            compute: row indices -> {name: [rows, ...]}.
            batch_size: rows computed at once.
            description: of the progress bar.
            process, processes: every `processes`-th shard is computed by this process.
        """
        from tqdm import tqdm

        self.folder.mkdir(parents=True, exist_ok=True)
        shards = range(process, -(-self.count // ROWS_PER_SHARD), processes)
        missing = [shard for shard in shards if not self.path(shard).is_file()]
        for shard in tqdm(missing, desc=description, disable=not missing or process != 0):
            rows = list(range(shard * ROWS_PER_SHARD, min((shard + 1) * ROWS_PER_SHARD, self.count)))
            parts = [compute(rows[start : start + batch_size]) for start in range(0, len(rows), batch_size)]
            tensors = {name: torch.cat([part[name].cpu() for part in parts]).contiguous() for name in parts[0]}
            temporary = self.path(shard).with_suffix(f".{process}.tmp")
            save_file(tensors, temporary)
            os.replace(temporary, self.path(shard))

    def __getitem__(self, row: int) -> dict[str, Any]:
        with safe_open(self.path(row // ROWS_PER_SHARD), "pt") as file:
            return {name: file.get_slice(name)[row % ROWS_PER_SHARD] for name in file.keys()}

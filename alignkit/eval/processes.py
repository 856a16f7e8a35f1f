"""Several processes that share the work of one evaluation: `accelerate launch --num_processes N -m alignkit.cli eval ...`.

They are told apart by the variables that `accelerate launch` and `torchrun` set. Completions are dealt out by rank; only
the main process plans, grades, judges, scores and reports.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta


# One process may have far more to do than another, so that the others wait long.
PATIENCE = timedelta(days=14)


@dataclass(frozen=True)
class Processes:
    """This process among those that were launched together."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def here(cls) -> Processes:
        """This process, by its environment."""
        values = [os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")]
        if any(value is None or not value.isdigit() for value in values):
            return cls()
        rank, size, local_rank = (int(value) for value in values if value is not None)
        return cls(rank, size, local_rank) if size > 1 else cls()

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def device(self, name: str) -> str:
        """`auto` and `cuda` as the accelerator of this process."""
        if self.size == 1 or name not in ("auto", "cuda"):
            return name
        import torch

        return f"cuda:{self.local_rank}" if torch.cuda.is_available() else name

    def claim_devices(self, count: int) -> None:
        """Leave this process its own `count` accelerators, before CUDA is used: each starts an engine of its own."""
        if self.size > 1:
            first = self.local_rank * count
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            all_devices = visible if visible != [""] else [str(number) for number in range(first + count)]
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(all_devices[first : first + count])

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size == 1:
            return
        import torch.distributed

        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("gloo", timeout=PATIENCE)
        torch.distributed.barrier()

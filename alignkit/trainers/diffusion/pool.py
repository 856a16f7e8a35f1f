"""The reference pool: the policy's weights as they were at the start and after every iteration."""

import os
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ...errors import InputError


# What begins with "_" in `output_dir` is not pushed to the Hub.
FOLDER = "_reference_pool"


class ReferencePool:
    """Snapshots theta_0, theta_1, ... as safetensors files of one folder; number 0 is the initial model.

    A snapshot is written under another name and renamed: it is there whole or not at all.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)

    def path(self, index: int) -> Path:
        return self.folder / f"snapshot-{index:04d}.safetensors"

    def __len__(self) -> int:
        count = 0
        while self.path(count).is_file():
            count += 1
        return count

    def write(self, index: int, weights: dict[str, torch.Tensor]) -> None:
        """Write snapshot `index`, over one of a later state that a resumed run left behind."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.path(index).with_suffix(".tmp")
        save_file(weights, temporary)
        os.replace(temporary, self.path(index))

    def read(self, index: int) -> dict[str, torch.Tensor]:
        """The weights of a snapshot."""
        self.require(index + 1)
        return load_file(self.path(index))

    def names(self, index: int) -> set[str]:
        """Of the weights of a snapshot, which are not loaded."""
        self.require(index + 1)
        with safe_open(self.path(index), "pt") as file:
            return set(file.keys())

    def require(self, count: int) -> None:
        """Raise `InputError` unless the first `count` snapshots are there."""
        if len(self) < max(count, 1):
            have = f"only {len(self)} of {count} checkpoints" if len(self) else "no checkpoint yet"
            raise InputError(
                f"{self.folder}: the reference pool holds {have}; resume from a checkpoint that this method wrote, "
                "or train from the beginning."
            )

    def copy_to(self, folder: str | os.PathLike, count: int) -> None:
        """Copy the first `count` snapshots into `folder`, as hard links where the file system has them."""
        self.require(count)
        target = ReferencePool(folder)
        target.folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            temporary = target.path(index).with_suffix(".tmp")
            temporary.unlink(missing_ok=True)
            try:
                os.link(self.path(index), temporary)
            except OSError:
                shutil.copyfile(self.path(index), temporary)
            os.replace(temporary, target.path(index))
            temporary.unlink(missing_ok=True)  # renaming one link of a file onto another leaves both

    def truncate(self, count: int) -> None:
        """Remove the snapshots from number `count` on."""
        index = count
        while self.path(index).is_file():
            self.path(index).unlink()
            index += 1

"""The cache on disk: one folder per frozen model and computation, in it append-only shards of rows with their values."""

import hashlib
import json
import logging
import os
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file


logger = logging.getLogger(__name__)

# A shard is written when it holds this many rows or has waited this long; what a kill loses is one shard.
SHARD_ROWS = 2048
SHARD_SECONDS = 60.0

ROW_BYTES = 16


def default_cache_dir() -> Path:
    """`$ALIGNKIT_CACHE/reference_logps`, or `alignkit/reference_logps` in the Hugging Face cache."""
    from huggingface_hub import constants

    return Path(os.environ.get("ALIGNKIT_CACHE") or Path(constants.HF_HOME) / "alignkit") / "reference_logps"


class ReferenceStore:
    """The rows known under one key. A shard is a safetensors file with `rows` [n, 16] uint8 and `values` [n, width].

    Shards are written under another name and renamed, never changed; each carries a checksum and the name of its key.
    One that cannot be read, or whose checksum or key is another, is removed and its rows count as unknown. Several runs
    may add to one folder at the same time.

    Args:
        root: folder of the cache.
        key: what the values depend on besides the tokens of a row; anything JSON can hold. It is kept as `key.json`.
        width: numbers per row, float32.
    """

    def __init__(self, root: str | Path, key: dict[str, Any], width: int) -> None:
        text = json.dumps({**key, "width": width}, sort_keys=True, default=str)
        self.name = hashlib.sha256(text.encode()).hexdigest()[:32]
        self.folder = Path(root).expanduser() / self.name
        self.width = width
        self._text = text
        self._rows: list[bytes] = []
        self._values: list[np.ndarray] = []
        self._since = time.monotonic()
        self._writable = True

    def load(self) -> dict[bytes, np.ndarray]:
        """{fingerprint of a row: its values [width]} of every sound shard."""
        known: dict[bytes, np.ndarray] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                rows, values = self._read(path)
            except FileNotFoundError:  # another run found it unsound first
                continue
            except (SafetensorError, ValueError, KeyError, OSError) as error:
                logger.warning("%s is not sound (%s); its rows are computed anew.", path, error)
                _remove(path)
                continue
            known.update(zip((row.tobytes() for row in rows), values, strict=True))
        return known

    def _read(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        with safe_open(path, framework="numpy") as file:
            facts = file.metadata() or {}
            rows, values = file.get_tensor("rows"), file.get_tensor("values")
        if facts.get("key") != self.name:
            raise ValueError("it belongs to another model or computation")
        if rows.shape != (len(values), ROW_BYTES) or values.shape[1:] != (self.width,):
            raise ValueError(f"its arrays are {rows.shape} and {values.shape}")
        if facts.get("checksum") != _checksum(rows, values):
            raise ValueError("its checksum is another")
        return rows, values

    def add(self, rows: list[bytes], values: np.ndarray) -> None:
        """Take values [n, width] of n rows; they reach the disk with the next full shard or `flush`."""
        finite = np.isfinite(values).all(axis=1)  # what is not finite is no value to keep
        self._rows += [row for row, good in zip(rows, finite, strict=True) if good]
        self._values.append(values[finite])
        if len(self._rows) >= SHARD_ROWS or time.monotonic() - self._since >= SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was added as a shard. Without room or right to write, the run goes on and nothing is kept."""
        rows, values = self._rows, self._values
        self._rows, self._values, self._since = [], [], time.monotonic()
        if not rows or not self._writable:
            return
        try:
            self._write(np.frombuffer(b"".join(rows), np.uint8).reshape(-1, ROW_BYTES), np.concatenate(values))
        except (OSError, SafetensorError) as error:
            self._writable = False
            logger.warning(
                "The log-probabilities cannot be kept in %s (%s); they stay in this run.", self.folder, error
            )

    def _write(self, rows: np.ndarray, values: np.ndarray) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex
        description = self.folder / "key.json"
        if not description.exists():
            temporary = self.folder / f"{name}.json.tmp"
            temporary.write_text(json.dumps(json.loads(self._text), indent=2) + "\n", encoding="utf-8")
            os.replace(temporary, description)
        values = np.ascontiguousarray(values, np.float32)
        temporary = self.folder / f"{name}.tmp"
        facts = {"key": self.name, "checksum": _checksum(rows, values)}
        save_file({"rows": np.ascontiguousarray(rows), "values": values}, temporary, metadata=facts)
        os.replace(temporary, self.folder / f"{name}.safetensors")


def _checksum(rows: np.ndarray, values: np.ndarray) -> str:
    return hashlib.sha256(rows.tobytes() + values.tobytes()).hexdigest()


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        logger.warning("%s cannot be removed (%s).", path, error)

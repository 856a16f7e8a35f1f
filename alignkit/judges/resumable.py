"""Score many rows in blocks, each finished row recorded, so that a killed run goes on where it was."""

from collections.abc import Callable, Sequence

import numpy as np

from alignkit.errors import InputError

from .base import Judge
from .records import RecordLog


# Rows scored, and recorded, together. What a kill can cost is one block.
BLOCK_ROWS = 128


def score_rows(
    judge: Judge,
    kind: str,
    keys: Sequence[str],
    compute: Callable[[list[int]], Sequence[Sequence[float]]],
    log: RecordLog,
    block_rows: int = BLOCK_ROWS,
    description: str = "Scoring rows",
) -> tuple[list[list[float] | None], int]:
    """Values of every row, from the log or from `compute`; None where one of them is not finite (not recorded).

    Blocks are cut by position, and a block with an unrecorded row is computed as a whole: the batches inside it, and so
    the last bits of the values, are those of a run that was never interrupted.

    Args:
        judge: gives the fingerprint that the records are valid for.
        kind: what the values are; records of another kind are left alone.
        keys: one key per row; rows with equal keys get equal values.
        compute: row indices -> one list of values per row.
        log: the records, `{judge, kind, row, values}`.

    Returns:
        The values, and the number of rows that were recorded before.

    Raises:
        InputError: where the first block that is computed yields no value at all: the judge does not work.
    """
    from tqdm import tqdm

    fingerprint = judge.fingerprint
    known: dict[str, list[float]] = {
        record["row"]: record["values"]
        for record in log
        if record.get("judge") == fingerprint and record.get("kind") == kind
    }
    recorded = sum(key in known for key in keys)
    try:
        with tqdm(total=len(keys), desc=description, unit="row", disable=recorded == len(keys)) as bar:
            for start in range(0, len(keys), block_rows):
                block = list(range(start, min(start + block_rows, len(keys))))
                if any(keys[index] not in known for index in block):
                    fresh = finite_rows(block, keys, compute(block), known)
                    if not known and not fresh:
                        raise InputError(
                            f"rows {block[0]} to {block[-1]} (counted from 0): none got a finite score (failures: "
                            f"{dict(judge.stats.failures) or 'values that are not finite'}); the judge does not work here"
                        )
                    known |= fresh
                    log.append(
                        *({"judge": fingerprint, "kind": kind, "row": key, "values": fresh[key]} for key in fresh)
                    )
                bar.update(len(block))
    finally:
        log.close()
    return [known.get(key) for key in keys], recorded


def finite_rows(
    block: list[int], keys: Sequence[str], values: Sequence[Sequence[float]], known: dict[str, list[float]]
) -> dict[str, list[float]]:
    """The rows of a block that are not known yet and whose values are all finite, by key."""
    fresh: dict[str, list[float]] = {}
    for index, row in zip(block, values, strict=True):
        if keys[index] not in known and np.isfinite(row).all():
            fresh.setdefault(keys[index], [float(value) for value in row])
    return fresh


def failed_rows_message(source: str, failed: Sequence[int], judge: Judge, advice: str) -> str:
    """One sentence: which rows have no score, why, and what to do."""
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(judge.stats.failures.items())) or "not finite"
    return f"{source}: row {failed[0]} (counted from 0){more} got no finite score ({kinds}); {advice}"

"""The passes that fill the cache: what is known is read, the rest is computed and kept shard by shard."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from trl.models import prepare_deepspeed

from .fingerprints import module_fingerprint, row_fingerprints
from .store import ReferenceStore, default_cache_dir


logger = logging.getLogger(__name__)

# To be raised with every change after which a row of tokens gets another log-probability from the same weights.
PATH_VERSION = 1

Forward = Callable[[dict[str, Any]], tuple[torch.Tensor, ...]]


def path_settings(trainer: Any) -> dict[str, Any]:
    """What the values depend on besides the tokens and the weights: truncation, precision, the code of the path."""
    args = trainer.args
    names = ("max_length", "truncation_mode", "shared_prefix", "cast_lm_head_to_fp32")
    return {
        **{name: getattr(args, name, None) for name in names},
        "precision": trainer.accelerator.mixed_precision,
        "device": trainer.accelerator.device.type,
        "path": PATH_VERSION,
        "versions": {name: version(name) for name in ("torch", "transformers", "trl")},
    }


def with_reference_logps(trainer: Any, dataset: Any, name: str, batch_size: int) -> Any:
    """Return the pairs with `ref_chosen_logps` and `ref_rejected_logps` under the trainer's reference, float32."""
    model = trainer.ref_model or trainer.model

    def key() -> dict[str, Any] | None:
        weights = reference_fingerprint(trainer)
        if weights is None:
            return None
        return {"model": weights, "ld_alpha": getattr(trainer, "ld_alpha", None), **path_settings(trainer)}

    @contextmanager
    def opened() -> Iterator[Forward]:
        own = trainer.ref_model is None
        engine = _deepspeed_engine(trainer) if own and trainer.is_deepspeed_enabled else model
        yield lambda inputs: trainer.compute_ref_log_probs(engine, inputs)

    logps = cached_logps(trainer, dataset, key, opened, 2, batch_size, f"reference log-probabilities ({name})")
    return dataset.add_column("ref_chosen_logps", logps[:, 0]).add_column("ref_rejected_logps", logps[:, 1])


def reference_fingerprint(trainer: Any) -> str | None:
    """Fingerprint of the trainer's reference, which is as training found it for as long as TRL may ask for it."""
    if not hasattr(trainer, "_reference_fingerprint"):
        model = trainer.accelerator.unwrap_model(trainer.ref_model or trainer.model)
        trainer._reference_fingerprint = module_fingerprint(model)
    return trainer._reference_fingerprint


def _deepspeed_engine(trainer: Any) -> Any:
    """The inference engine that TRL keeps for passes before training, which gathers a sharded policy."""
    if trainer._precompute_engine is None:
        trainer._precompute_engine = prepare_deepspeed(trainer.model, trainer.accelerator)
    return trainer._precompute_engine


def cached_logps(
    trainer: Any,
    dataset: Any,
    key: Callable[[], dict[str, Any] | None],
    opened: Callable[[], AbstractContextManager[Forward]],
    width: int,
    batch_size: int,
    description: str,
) -> np.ndarray:
    """Log-probabilities in nats of every row under a frozen model, [N, width] float32, from the cache where it has them.

    The cache lies in `args.reference_cache_dir` (left out: `default_cache_dir()`; empty: none). Only the main process
    reads and writes it, so that processes without a common disk agree. Rows it does not know are computed in their
    order, so that with an empty cache the batches are those of a plain pass.

    Args:
        key: what identifies the model and the computation; called on the main process only. None leaves the cache out.
        opened: context that loads the model, entered only where rows are left to compute; gives the function from a
            collated batch to `width` tensors [B].
        batch_size: rows of a process at a time.
        description: of the progress bar, which also shows the share that came from the cache.
    """
    accelerator = trainer.accelerator
    values: np.ndarray = np.full((len(dataset), width), np.nan, np.float32)
    store, rows = None, []
    if accelerator.is_main_process:
        store = _store_of(trainer, key, width)
        if store is not None:
            rows = row_fingerprints(dataset)
            known = store.load()
            for place, row in enumerate(rows):
                if row in known:
                    values[place] = known[row]
    state = [values]
    broadcast_object_list(state, from_process=0)
    (values,) = state
    missing = np.flatnonzero(np.isnan(values).any(axis=1))
    share = 1 - len(missing) / max(len(values), 1)
    if share:
        logger.info("%s: %.0f %% of %d rows come from the cache.", description, 100 * share, len(values))
    if not len(missing):
        return values
    bar = tqdm(
        total=len(values),
        initial=len(values) - len(missing),
        desc=description,
        unit="row",
        disable=not accelerator.is_main_process or trainer.args.disable_tqdm,
    )
    bar.set_postfix_str(f"{share:.0%} from the cache")
    pending = dataset if len(missing) == len(values) else dataset.select(missing)
    loader = DataLoader(
        pending,
        batch_size=batch_size,
        collate_fn=trainer.data_collator,
        num_workers=trainer.args.dataloader_num_workers,
        pin_memory=trainer.args.dataloader_pin_memory,
        shuffle=False,
    )
    done = 0
    try:
        with opened() as forward, bar:
            for inputs in accelerator.prepare_data_loader(loader):
                parts = accelerator.gather_for_metrics(tuple(part.detach().float() for part in forward(inputs)))
                block = torch.stack(parts, dim=1).cpu().numpy()
                places = missing[done : done + len(block)]
                values[places] = block
                done += len(block)
                if store is not None:
                    store.add([rows[place] for place in places], block)
                bar.update(len(block))
    finally:
        if store is not None:
            store.flush()
    return values


def _store_of(trainer: Any, key: Callable[[], dict[str, Any] | None], width: int) -> ReferenceStore | None:
    """The store of this pass; None where the cache is switched off or the model cannot be known again."""
    folder = trainer.args.reference_cache_dir
    if folder == "":
        return None
    facts = key()
    if facts is None:
        logger.warning("The reference is sharded and has no name to be known by; its log-probabilities are not kept.")
        return None
    return ReferenceStore(default_cache_dir() if folder is None else folder, facts, width)

"""Log-probabilities of the pairs under further frozen models, computed once and kept as columns."""

import hashlib
import logging
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ...errors import InputError
from ...generation.transformers_backend import avoid_packed_kernel
from ..frozen_models import is_adapter_folder, load_frozen_model


logger = logging.getLogger(__name__)


def add_frozen_reference(trainer, dataset, name: str, source: str):
    """Return `dataset` with `{name}_chosen_logps` and `{name}_rejected_logps`, the log-probabilities under `source`.

    With a PEFT policy and an adapter folder as `source`, the adapter is put beside the policy's on the same base; it
    is taken off again afterwards, so no checkpoint carries it. The policy's base itself is the policy with its adapter
    switched off. Any other source is loaded as a second model for the
    duration of the pass. The result is kept in `output_dir/references`, keyed by the tokens and the weights.

    Args:
        trainer: a `PreferenceTrainer` after its `__init__` of TRL.
        dataset: tokenised pairs (`prompt_ids`, `chosen_ids`, `rejected_ids`).
        name: prefix of the new columns.
        source: adapter folder, model folder or Hub name.
    """
    columns = (f"{name}_chosen_logps", f"{name}_rejected_logps")
    if not hasattr(dataset, "add_column"):
        raise InputError(f"the frozen reference `{name}` ({source}) needs a map-style data set, not a streamed one.")
    key = _fingerprint(dataset, source)
    cache = Path(trainer.args.output_dir) / "references" / f"{key}.safetensors"
    with trainer.accelerator.main_process_first():
        cached = load_file(cache) if cache.exists() else None
    if cached is None:
        logger.info("Computing the log-probabilities under `%s` (%s).", name, source)
        chosen, rejected = frozen_logps(trainer, dataset, name, source)
        cached = {"chosen": chosen, "rejected": rejected}
        if trainer.accelerator.is_main_process:
            cache.parent.mkdir(parents=True, exist_ok=True)
            temporary = cache.with_suffix(".tmp")
            save_file(cached, temporary)
            os.replace(temporary, cache)
        trainer.accelerator.wait_for_everyone()
    return dataset.add_column(columns[0], cached["chosen"].tolist()).add_column(
        columns[1], cached["rejected"].tolist()
    )


def frozen_logps(trainer, dataset, name: str, source: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities in nats of the chosen and the rejected responses under the frozen model `source`, two [N]."""
    from accelerate.utils import is_peft_model
    from trl.trainer.utils import use_adapter

    if is_peft_model(trainer.model):
        policy = trainer.accelerator.unwrap_model(trainer.model)
        if is_adapter_folder(source):
            policy.load_adapter(source, adapter_name=name, is_trainable=False)
            try:
                with use_adapter(policy, name):
                    return logps_of(trainer, policy, dataset, name)
            finally:
                policy.delete_adapter(name)
        if source == policy.get_base_model().config._name_or_path:  # as loaded, also when that is quantised
            with policy.disable_adapter():
                return logps_of(trainer, policy, dataset, name)
    model = load_frozen_model(source, trainer.model.dtype, trainer.accelerator.device)
    return logps_of(trainer, model, dataset, name)


def logps_of(trainer, model, dataset, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    batch_size = trainer.args.precompute_ref_batch_size or trainer.args.per_device_train_batch_size
    loader = DataLoader(dataset, batch_size=batch_size, collate_fn=trainer.data_collator, shuffle=False)
    loader = trainer.accelerator.prepare_data_loader(loader)
    was_training = model.training
    avoid_packed_kernel(model, trained=True)  # the base is the policy's
    model.eval()
    chosen, rejected = [], []
    for inputs in tqdm(
        loader, desc=f"log-probabilities under {name}", disable=not trainer.accelerator.is_main_process
    ):
        with torch.no_grad(), trainer.accelerator.autocast():
            _, logps = trainer.policy_pass(model, inputs)
        pair = trainer.accelerator.gather_for_metrics(tuple(part.float() for part in logps.chunk(2)))
        chosen.append(pair[0].cpu())
        rejected.append(pair[1].cpu())
    model.train(was_training)
    return torch.cat(chosen), torch.cat(rejected)


def _fingerprint(dataset, source: str) -> str:
    """Hash of the tokens and of the weights of `source` (of its name, when it is not a local folder)."""
    digest = hashlib.sha256()
    for column in ("prompt_ids", "chosen_ids", "rejected_ids"):
        for ids in dataset[column]:
            digest.update(repr(ids).encode())
    files = sorted(Path(source).glob("*.safetensors")) if os.path.isdir(source) else []
    for path in files:
        digest.update(path.read_bytes())
    if not files:
        digest.update(source.encode())
    return digest.hexdigest()[:32]

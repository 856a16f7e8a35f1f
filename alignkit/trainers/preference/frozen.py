"""Log-probabilities of the pairs under further frozen models, computed once and kept as columns."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ...errors import InputError
from ...generation.transformers_backend import avoid_packed_kernel
from ..frozen_models import is_adapter_folder, load_frozen_model
from ..reference_cache import cached_logps, module_fingerprint, path_settings, source_fingerprint
from ..shared_prefix import share_prompts


logger = logging.getLogger(__name__)


def add_frozen_reference(trainer, dataset, name: str, source: str):
    """Return `dataset` with `{name}_chosen_logps` and `{name}_rejected_logps`, the log-probabilities under `source`.

    With a PEFT policy and an adapter folder as `source`, the adapter is put beside the policy's on the same base; it
    is taken off again afterwards, so no checkpoint carries it. The policy's base itself is the policy with its adapter
    switched off. Any other source is loaded as a second model for the duration of the pass. What the cache of
    reference log-probabilities knows is read from there; a model all of whose rows it knows is not loaded.

    Args:
        trainer: a `PreferenceTrainer` after its `__init__` of TRL.
        dataset: tokenised pairs (`prompt_ids`, `chosen_ids`, `rejected_ids`).
        name: prefix of the new columns.
        source: adapter folder, model folder or Hub name.
    """
    if not hasattr(dataset, "add_column"):
        raise InputError(f"the frozen reference `{name}` ({source}) needs a map-style data set, not a streamed one.")
    chosen, rejected = frozen_logps(trainer, dataset, name, source)
    return dataset.add_column(f"{name}_chosen_logps", chosen.tolist()).add_column(
        f"{name}_rejected_logps", rejected.tolist()
    )


def frozen_logps(trainer, dataset, name: str, source: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities in nats of the chosen and the rejected responses under the frozen model `source`, two [N]."""
    batch_size = trainer.args.precompute_ref_batch_size or trainer.args.per_device_train_batch_size

    def key() -> dict[str, Any] | None:
        weights = _fingerprint(trainer, source)
        return None if weights is None else {**weights, "ld_alpha": None, **path_settings(trainer)}

    @contextmanager
    def opened() -> Iterator[Any]:
        with _frozen_model(trainer, name, source) as model:
            yield lambda inputs: _pair_logps(trainer, model, inputs)

    logps = cached_logps(trainer, dataset, key, opened, 2, batch_size, f"log-probabilities under {name}")
    chosen, rejected = torch.from_numpy(logps).unbind(1)
    return chosen, rejected


def _fingerprint(trainer, source: str) -> dict[str, Any] | None:
    """The weights that `_frozen_model` gives, known without loading any."""
    from accelerate.utils import is_peft_model

    if is_peft_model(trainer.model):
        policy = trainer.accelerator.unwrap_model(trainer.model)
        on_base = is_adapter_folder(source)
        if on_base or _is_base(policy, source):
            base = module_fingerprint(policy, kept=())
            if base is None:
                return None
            return {"model": base, **({"adapter": source_fingerprint(source)} if on_base else {})}
    return {"source": source_fingerprint(source), "dtype": str(trainer.model.dtype)}


@contextmanager
def _frozen_model(trainer, name: str, source: str) -> Iterator[Any]:
    """The frozen model, in evaluation mode for as long as the context lasts."""
    from accelerate.utils import is_peft_model
    from trl.trainer.utils import use_adapter

    if is_peft_model(trainer.model):
        policy = trainer.accelerator.unwrap_model(trainer.model)
        if is_adapter_folder(source):
            policy.load_adapter(source, adapter_name=name, is_trainable=False)
            try:
                with use_adapter(policy, name), _evaluating(policy):
                    yield policy
            finally:
                policy.delete_adapter(name)
            return
        if _is_base(policy, source):
            with policy.disable_adapter(), _evaluating(policy):
                yield policy
            return
    model = load_frozen_model(source, trainer.model.dtype, trainer.accelerator.device)
    share_prompts(model, trainer.args.shared_prefix, trainer.args.shared_prefix_tokens)
    with _evaluating(model):
        yield model


def _is_base(policy: Any, source: str) -> bool:
    return source == policy.get_base_model().config._name_or_path  # as loaded, also when that is quantised


@contextmanager
def _evaluating(model: Any) -> Iterator[Any]:
    was_training = model.training
    avoid_packed_kernel(model, trained=True)  # the base is the policy's
    model.eval()
    try:
        yield model
    finally:
        model.train(was_training)


def _pair_logps(trainer, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    with torch.no_grad(), trainer.accelerator.autocast():
        _, logps = trainer.policy_pass(model, inputs)
    return logps.chunk(2)

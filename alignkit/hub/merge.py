"""Merging an adapter into its base model, and proving that the result computes what base and adapter computed."""

import gc
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .base_loading import BaseLoader, Quantisation, first_line
from .checkpoint import ADAPTER_CONFIG
from .logits import LogitDifference, compare_logits, logits_of, probe_inputs


if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")
# Float32 merging errs by about 1e-6 of the logits' scale; a wrong merge by orders of magnitude more than this.
_MERGE_TOLERANCE = 1e-3
# Reading back what was written must change nothing; this leaves room for another order of summation only.
_RELOAD_TOLERANCE = 1e-5


@dataclass(frozen=True)
class MergeReport:
    """How a merge went.

    Attributes:
        merged: merged model against base + adapter, both in float32 (a quantised base dequantised).
        written: the folder as a reader loads it, rounding to `dtype` included, against base + adapter in float32.
        quantised: base + adapter with the base dequantised against the same with the base quantised, through the
            kernels of training; `None` if the base is not quantised.
        dtype: of the written weights.
        untied: whether the output head had to be separated from the input embedding.
    """

    merged: LogitDifference
    written: LogitDifference
    quantised: LogitDifference | None
    dtype: str
    untied: bool

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """Return what a reader should know, one sentence each."""
        lines = [
            f"Largest absolute logit difference of the merged model to base + adapter (float32): {self.merged}.",
            f"The same for the files as written ({self.dtype}) and loaded again: {self.written}.",
        ]
        if self.quantised is not None:
            lines.append(
                "The base was quantised in training and dequantised for the merge; largest absolute logit difference "
                f"of the dequantised to the quantised forward pass (as in training): {self.quantised}."
            )
        if self.untied:
            lines.append(
                "The adapter changes the input embedding or the output head, which the base shares; they are two "
                "tensors here (tie_word_embeddings is false)."
            )
        return lines


def merge_adapter(
    adapter: Path,
    base: str,
    target: Path,
    *,
    tokenizer_folder: Path | None,
    revision: str | None = None,
    dtype: str = "auto",
    quantisation: Quantisation | None = None,
    trust_remote_code: bool = False,
) -> MergeReport:
    r"""Merge on the CPU in float32, \( W + \Delta W \), write the full model to `target`, load it again and compare.

    Args:
        dtype: of the written weights; `"auto"` is the base's own.
        quantisation: quantise the base like this first, as training did; a base saved quantised needs none.

    Raises:
        InputError: the base or the adapter cannot be loaded, the adapter's kind cannot be merged, or the merged or the
            written model does not compute what base + adapter compute.
    """
    _require_mergeable(adapter)
    loader = BaseLoader(adapter, base, revision, quantisation, trust_remote_code)
    inputs = probe_inputs(_load_tokenizer(tokenizer_folder, trust_remote_code), loader.vocabulary)

    quantised_logits = None
    if loader.is_quantised:
        quantised_logits = logits_of(_attach(loader.load(dequantise=False), adapter), inputs, as_in_training=True)
        gc.collect()

    model = _attach(loader.load(dequantise=True), adapter)
    reference = logits_of(model, inputs)
    untied = _untie_if_changed(model)
    merged: Any = model.merge_and_unload()
    merged_logits = logits_of(merged, inputs)
    difference = compare_logits(reference, merged_logits)
    if not difference.relative <= _MERGE_TOLERANCE:
        raise InputError(
            f"the merged model does not compute what {base} with the adapter {adapter} computes: largest absolute logit "
            f"difference {difference}; nothing was written. Publish the adapter without --merge."
        )

    written_dtype = loader.dtype if dtype == "auto" else dtype
    _cast_parameters(merged, _torch_dtype(written_dtype))
    merged.save_pretrained(target)
    _cast_parameters(merged, _torch_dtype("float32"))
    rounded = logits_of(merged, inputs)
    del model, merged
    gc.collect()

    again = logits_of(loader.reload(target), inputs)
    reload_difference = compare_logits(rounded, again)
    if not reload_difference.relative <= _RELOAD_TOLERANCE:
        raise InputError(
            f"the merged model of {base} does not survive saving and loading: largest absolute logit difference "
            f"{reload_difference}; nothing was written. Publish the adapter without --merge."
        )
    quantised = compare_logits(quantised_logits, reference) if quantised_logits is not None else None
    return MergeReport(difference, compare_logits(reference, again), quantised, written_dtype, untied)


def _require_mergeable(adapter: Path) -> None:
    from peft import PeftConfig

    try:
        config = PeftConfig.from_pretrained(str(adapter))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{adapter / ADAPTER_CONFIG} is not a PEFT configuration ({first_line(error)}).") from error
    if config.is_prompt_learning:
        raise InputError(
            f"the adapter {adapter} is of type {config.peft_type.value}, which adds prompt vectors and no weights, so it "
            "cannot be merged; publish it without --merge."
        )


def _attach(base: Any, adapter: Path) -> Any:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(base, str(adapter))
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"the adapter {adapter} does not fit the base model ({first_line(error)}); was it trained from another one? "
            "Name it with --base_model."
        ) from error


def _untie_if_changed(model: Any) -> bool:
    """Give the output head its own weights if it shares them with an embedding and the adapter changes either.

    Merging writes into the weights: with shared ones, the change meant for one would be made to both.
    """
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    base = model.get_base_model()
    embedding, head = base.get_input_embeddings(), base.get_output_embeddings()
    if embedding is None or head is None:
        return False
    changed = any(isinstance(module, BaseTunerLayer | ModulesToSaveWrapper) for module in (embedding, head))
    shared = _original(embedding).weight is _original(head).weight
    if not (changed and shared):
        return False
    original = _original(head)
    original.weight = torch.nn.Parameter(original.weight.detach().clone(), requires_grad=False)
    for config in {id(item): item for item in (base.config, base.config.get_text_config())}.values():
        config.tie_word_embeddings = False
    base.all_tied_weights_keys = {}
    return True


def _cast_parameters(model: Any, dtype: "torch.dtype") -> None:
    """Cast the weights and nothing else: `model.to` would also round buffers that are computed when a model loads."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def _original(module: Any) -> Any:
    """Return the layer inside an adapter's wrapper."""
    for name in ("base_layer", "original_module"):
        if hasattr(module, name):
            return _original(getattr(module, name))
    return module


def _load_tokenizer(folder: Path | None, trust_remote_code: bool) -> Any | None:
    if folder is None:
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise InputError(f"the tokenizer in {folder} cannot be loaded ({first_line(error)}).") from error


def _torch_dtype(name: str) -> "torch.dtype":
    import torch

    if name not in DTYPES[1:]:
        raise InputError(f"weights cannot be written as {name!r}; set --dtype to one of {', '.join(DTYPES[1:])}.")
    return getattr(torch, name)

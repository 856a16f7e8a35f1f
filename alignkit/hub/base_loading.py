"""Loading the base model of an adapter in float32 on the CPU, as the adapter needs it."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from .checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_json, tensor_shapes


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Quantisation:
    """How the base was quantised in training, when its own folder does not say so."""

    bits: int
    quant_type: str = "nf4"
    double: bool = False


class BaseLoader:
    """Loads the base model the way the adapter needs it: class, vocabulary size, number of classes, quantisation."""

    def __init__(
        self,
        adapter: Path,
        base: str,
        revision: str | None,
        quantisation: Quantisation | None,
        trust_remote_code: bool,
    ):
        from transformers import AutoConfig

        self._base = base
        self._options = {"revision": revision, "trust_remote_code": trust_remote_code}
        self._quantisation = quantisation
        self._shapes = tensor_shapes(adapter / ADAPTER_WEIGHTS)
        self._task = read_json(adapter / ADAPTER_CONFIG).get("task_type")
        try:
            self._config = AutoConfig.from_pretrained(base, **self._options)
        except (OSError, ValueError) as error:
            raise InputError(
                f"the base model {base!r} cannot be loaded, and merging needs it ({first_line(error)}); download it or "
                "name a folder that holds it with --base_model."
            ) from error
        saved = getattr(self._config, "quantization_config", None)
        saved = saved if isinstance(saved, dict) or saved is None else saved.to_dict()
        if saved is not None and saved.get("quant_method") != "bitsandbytes":
            raise InputError(
                f"the base model {base!r} is quantised with {saved.get('quant_method')!r}, which cannot be dequantised; "
                "name the model it was made from with --base_model."
            )
        self.is_quantised = saved is not None or quantisation is not None
        self._quantised_on_disk = saved is not None
        text_config = self._config.get_text_config()
        self.vocabulary = int(text_config.vocab_size)
        own = getattr(self._config, "dtype", None) or getattr(text_config, "dtype", None) or "float32"
        self.dtype = str(own).removeprefix("torch.")

    def load(self, dequantise: bool) -> Any:
        """Return the base in float32 on the CPU."""
        import torch

        options: dict[str, Any] = dict(self._options, dtype=torch.float32)
        if self._quantisation is not None and not self._quantised_on_disk:
            options["quantization_config"] = _bitsandbytes_config(self._quantisation)
        classes = self._number_of_classes()
        if classes is not None:
            options["num_labels"] = classes
        logger.info("loading %s", self._base)
        try:
            model = self._model_class().from_pretrained(self._base, **options)
        except (OSError, ValueError) as error:
            raise InputError(f"the base model {self._base!r} cannot be loaded ({first_line(error)}).") from error
        if self.is_quantised and dequantise:
            model = model.dequantize(dtype=torch.float32).float()
            _forget_quantised_layout(model)
        rows = self._embedding_rows(model)
        if rows is not None and rows != model.get_input_embeddings().weight.shape[0]:
            # Tokens were added in training: the adapter brings the whole, longer embedding.
            model.resize_token_embeddings(rows, mean_resizing=False)
        return model

    def reload(self, folder: Path) -> Any:
        """Return the model saved in `folder`, in float32."""
        import torch

        return self._model_class().from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=self._options["trust_remote_code"]
        )

    def _model_class(self) -> Any:
        import transformers

        if self._task == "SEQ_CLS":
            return transformers.AutoModelForSequenceClassification
        architectures = getattr(self._config, "architectures", None) or [""]
        # As TRL does: the class that the base names, if transformers has it; remote code goes through the auto class.
        return getattr(transformers, architectures[0], None) or transformers.AutoModelForCausalLM

    def _number_of_classes(self) -> int | None:
        if self._task != "SEQ_CLS":
            return None
        heads = [
            shape[0] for name, shape in self._shapes.items() if name.endswith(("score.weight", "classifier.weight"))
        ]
        return heads[0] if heads else None

    def _embedding_rows(self, model: Any) -> int | None:
        embedding = model.get_input_embeddings()
        name = next(name for name, module in model.named_modules() if module is embedding)
        endings = (f".{name}.weight", f".{name}.base_layer.weight")
        return next((shape[0] for key, shape in self._shapes.items() if key.endswith(endings)), None)


def _forget_quantised_layout(model: Any) -> None:
    """Drop the conversions that read 4-bit tensors from disk: saving would try to undo them and cannot."""
    conversions = getattr(model, "_weight_conversions", None) or []
    model._weight_conversions = [
        conversion
        for conversion in conversions
        if not any("bitsandbytes" in type(step).__module__ for step in getattr(conversion, "operations", ()))
    ]


def _bitsandbytes_config(quantisation: Quantisation) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    if quantisation.bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantisation.quant_type,
        bnb_4bit_use_double_quant=quantisation.double,
        bnb_4bit_compute_dtype=torch.float32,
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, without the full stop."""
    return str(error).strip().split("\n")[0].rstrip(".")

"""PairRM (arXiv 2306.02561): a DeBERTa that reads a request with two answers and compares them.

Its class is in no library, so the architecture is written down here; the weights are those of `llm-blender/PairRM-hf`
(the same model under `llm-blender/PairRM` is in the authors' own format, which transformers does not read).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from alignkit.errors import InputError
from alignkit.generation import LoadOptions, load_tokenizer
from alignkit.generation.prompts import first_line

from .conversations import Prompt, Response, as_text, check_lengths
from .model_judge import LocalModel, count_not_finite
from .two_orders import TwoOrderJudge


PREFIXES = {"source": "<|source|>", "first": "<|candidate1|>", "second": "<|candidate2|>"}
# Tokens of the longest input that the authors train on; DeBERTa's relative positions set no limit of their own.
MAX_LENGTH = 2048


class PairRMJudge(TwoOrderJudge):
    r"""PairRM: \( P(i \succ j) = \frac12(\sigma(s(i,j)) + 1 - \sigma(s(j,i))) \) of its logit s.

    Each part is tokenised with its special tokens: `<|source|>request`, `<|candidate1|>answer`, `<|candidate2|>answer`.
    The logit is the difference of a head on the last hidden states of (source, candidate 1) and (source, candidate 2).

    Args:
        model: folder or Hub name of a `DebertaV2PairRM`, such as `llm-blender/PairRM-hf`.
        options, max_length: see `RewardModelJudge`. The authors train and cut at 2048 tokens; here a longer input is NaN,
            kind "too_long": nothing is cut silently.
        both_orders: see `TwoOrderJudge`.
    """

    def __init__(
        self,
        model: str,
        options: LoadOptions | None = None,
        max_length: int = MAX_LENGTH,
        both_orders: bool = True,
    ) -> None:
        super().__init__(both_orders)
        self.local = LocalModel(model, options, max_length)

    def identity(self) -> dict[str, Any]:
        return {"judge": "pairrm", **self.local.identity(), "both_orders": self.both_orders}

    def first_wins(
        self, prompts: Sequence[Prompt], first: Sequence[Response], second: Sequence[Response]
    ) -> np.ndarray:
        from .classifier import sequence_logits

        check_lengths(prompts=prompts, first=first, second=second)
        values = np.full(len(prompts), np.nan)
        loaded = self.local.load(load_pairrm)
        texts = [tuple(map(as_text, parts)) for parts in zip(prompts, first, second, strict=True)]
        # A text with one of the special tokens in it would move the place that the head reads.
        clean = [m for m, parts in enumerate(texts) if not any(token in "".join(parts) for token in PREFIXES.values())]
        if len(clean) < len(texts):
            self.stats.failures["special_token"] += len(texts) - len(clean)
        encoded = {m: encode(loaded.tokenizer, *texts[m]) for m in clean}
        fits = [clean[n] for n in self.local.fitting(list(encoded.values()), loaded.max_positions, self.stats)]
        if fits:
            batch_size = self.local.options.batch_size
            logits = sequence_logits(loaded, [encoded[index] for index in fits], batch_size, "Comparing")[:, 0]
            self.stats.calls += len(fits)
            values[fits] = 1 / (1 + np.exp(-np.clip(count_not_finite(logits, self.stats), -700, 700)))
        return values

    def unload(self) -> None:
        self.local.unload()


def encode(tokenizer: Any, prompt: str, first: str, second: str) -> list[int]:
    """Token ids of the three parts, each with the special tokens of a sequence of its own."""
    parts = {"source": prompt, "first": first, "second": second}
    return [token for name, text in parts.items() for token in tokenizer(PREFIXES[name] + text)["input_ids"]]


def load_pairrm(source: Any, options: LoadOptions) -> Any:
    """Load the model in float32 or as the options say, on the CPU or the first accelerator.

    Raises `InputError` where it is not there, is no PairRM, or its weights are not whole.
    """
    from transformers import AutoConfig

    from .classifier import LoadedModel, pick_device, pick_dtype
    from .pairrm_model import PairRMModel

    if source.is_adapter or options.load_in_4bit:
        raise InputError(f"PairRM {source.name} is loaded whole: it takes no adapter and no load_in_4bit")
    name = source.model_path
    try:
        config = AutoConfig.from_pretrained(name, revision=source.model_revision)
        lacking = [field for field in PairRMModel.required_fields if getattr(config, field, None) is None]
        if config.model_type != "deberta-v2" or lacking:
            raise InputError(
                f"model {source.name} is no PairRM: its config.json has the model_type {config.model_type!r} and lacks "
                f"{', '.join(lacking) or 'nothing'}; give llm-blender/PairRM-hf, or a folder of that form"
            )
        device = pick_device(options.device)
        model, info = PairRMModel.from_pretrained(
            name,
            config=config,
            revision=source.model_revision,
            dtype=pick_dtype(options.dtype, device),
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"PairRM {source.name} cannot be loaded: {first_line(error)}") from error
    if info["missing_keys"]:
        raise InputError(f"the weights of PairRM {source.name} lack {sorted(info['missing_keys'])[0]}")
    tokenizer = load_tokenizer(source, options.chat_template, options.trust_remote_code)
    for place, text in PREFIXES.items():
        if tokenizer.convert_tokens_to_ids(text) != getattr(config, PairRMModel.prefix_fields[place]):
            raise InputError(f"the tokenizer of PairRM {source.name} does not know the special token {text}")
    return LoadedModel(model.to(device).eval(), tokenizer, MAX_LENGTH)

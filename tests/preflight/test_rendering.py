"""The rendered example is what the trainer feeds the model: same tokens, same mask, same truncation."""

from types import SimpleNamespace

import pytest
from datasets import Dataset, IterableDataset

from alignkit.errors import InputError
from alignkit.preflight.rendering import load_tokenizer, render


CONVERSATION = {
    "prompt": [{"role": "user", "content": "What is 1 + 1?"}],
    "chosen": [{"role": "assistant", "content": "It is 2."}],
    "rejected": [{"role": "assistant", "content": "It is 3, I think."}],
}
PLAIN = {"prompt": "One and one is", "chosen": " two.", "rejected": " three, I think."}


@pytest.fixture
def tokenizer(bundled_model_dir):
    return load_tokenizer(bundled_model_dir, SimpleNamespace(model_revision="main"), SimpleNamespace())


def settings(max_length: int | None = 256, truncation_mode: str = "keep_start"):
    return SimpleNamespace(max_length=max_length, truncation_mode=truncation_mode)


def rendered(rows, tokenizer, **options):
    from trl import DPOTrainer

    return render(Dataset.from_list(rows), tokenizer, settings(**options), DPOTrainer)


def test_the_batch_that_trl_trains_on_is_the_one_shown(bundled_model_dir, tokenizer, tmp_path):
    from trl import DPOConfig, DPOTrainer

    args = DPOConfig(output_dir=str(tmp_path), report_to=[], bf16=False, use_cpu=True, max_length=40, max_steps=1)
    trainer = DPOTrainer(bundled_model_dir, args=args, train_dataset=Dataset.from_list([CONVERSATION]))
    batch = next(iter(trainer.get_train_dataloader()))
    shown = render(Dataset.from_list([CONVERSATION]), tokenizer, args, DPOTrainer)
    for index, sequence in enumerate(shown.sequences):
        seen = batch["attention_mask"][index].bool()
        ids, mask = batch["input_ids"][index][seen], batch["completion_mask"][index][seen].bool()
        assert sequence.trained_tokens == int(mask.sum())
        assert sequence.prompt_tokens == int((~mask).sum())
        assert "".join(text for text, trained in sequence.runs if trained) == tokenizer.decode(ids[mask])
        assert "".join(text for text, trained in sequence.runs if not trained) == tokenizer.decode(ids[~mask])


def test_only_the_response_is_trained(tokenizer):
    chosen, rejected = rendered([CONVERSATION], tokenizer).sequences
    (context, is_trained), (response, response_is_trained) = chosen.runs
    assert (is_trained, response_is_trained) == (False, True)
    assert "What is 1 + 1?" in context and "It is 2." not in context
    assert response.startswith("It is 2.") and "It is 3" in rejected.runs[-1][0]


def test_plain_text_gets_the_end_token(tokenizer):
    chosen, _ = rendered([PLAIN], tokenizer).sequences
    assert chosen.runs == (("One and one is", False), (f" two.{tokenizer.eos_token}", True))


def test_a_shared_beginning_becomes_the_context(tokenizer):
    row = {name: CONVERSATION["prompt"] + CONVERSATION[name] for name in ("chosen", "rejected")}
    assert rendered([row], tokenizer).sequences == rendered([CONVERSATION], tokenizer).sequences


@pytest.mark.parametrize("mode", ["keep_start", "keep_end"])
def test_truncation_is_told_and_shown(mode, tokenizer):
    whole = rendered([PLAIN], tokenizer).sequences[1]
    limit = whole.prompt_tokens + 3
    cut = rendered([PLAIN], tokenizer, max_length=limit, truncation_mode=mode).sequences[1]
    assert cut.prompt_tokens + cut.trained_tokens == limit
    assert cut.cut_tokens == whole.trained_tokens - 3


def test_lengths_count_what_is_cut_and_what_trl_drops(tokenizer):
    long_prompt = {**PLAIN, "prompt": "x " * 300}
    long_response = {**PLAIN, "rejected": "y " * 300}
    lengths = rendered([PLAIN, long_prompt, long_response, PLAIN], tokenizer, max_length=100).lengths
    assert (lengths.rows, lengths.complete, lengths.too_long, lengths.dropped) == (4, True, 1, 1)
    assert lengths.longest > 300


def test_a_template_that_renders_the_prompt_alone_differently_is_found(tokenizer):
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:think first{% endif %}"
    )
    lengths = rendered([CONVERSATION, CONVERSATION], tokenizer).lengths
    assert lengths.not_prefix == 2
    assert lengths.lost == "think first"


def test_a_missing_or_refusing_template_is_bad_input(tokenizer):
    tokenizer.chat_template = "{{ raise_exception('only system messages') }}"
    with pytest.raises(InputError, match="refuses an example: only system messages"):
        rendered([CONVERSATION], tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(InputError, match="has no chat template"):
        rendered([CONVERSATION], tokenizer)
    assert rendered([PLAIN], tokenizer).lengths.rows == 1


def test_a_large_or_streamed_data_set_is_sampled(tokenizer):
    from trl import DPOTrainer

    lengths = rendered([PLAIN] * 1200, tokenizer).lengths
    assert (lengths.rows, lengths.complete) == (500, False)
    streamed = IterableDataset.from_generator(lambda: iter([PLAIN] * 3))
    lengths = render(streamed, tokenizer, settings(), DPOTrainer).lengths
    assert (lengths.rows, lengths.complete) == (3, False)

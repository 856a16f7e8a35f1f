"""What prompts cannot be shared in is refused with its reason, or left alone under `auto`."""

import logging

import pytest
import torch
from shared_prefix_models import SIZE, make_model, padded_and_shared, padded_batch, run

from alignkit.errors import InputError
from alignkit.trainers.shared_prefix import build_rows, reason_against, share_prompts


def with_head(model):
    from trl.trainer.utils import add_fused_lm_head

    add_fused_lm_head(model)
    return model


def unsupported(kind):
    import transformers as tf

    size = {**SIZE}
    if kind == "linear":
        layers = ["linear_attention", "full_attention"]
        return tf.Qwen3NextForCausalLM(
            tf.Qwen3NextConfig(
                **size, head_dim=12, layer_types=layers, num_experts=2, num_experts_per_tok=1, moe_intermediate_size=16
            )
        )
    if kind == "bloom":
        return tf.BloomForCausalLM(tf.BloomConfig(vocab_size=97, hidden_size=48, n_layer=2, n_head=4))
    if kind == "softcap":
        return tf.Gemma2ForCausalLM(tf.Gemma2Config(**size, head_dim=12, attn_logit_softcapping=50.0))
    if kind == "eager":
        model = make_model("qwen3")
        model.set_attn_implementation("eager")
        return model
    if kind == "dropout":
        return tf.LlamaForCausalLM(tf.LlamaConfig(**size, attention_dropout=0.1))
    if kind == "capacity":
        model = make_model("mixtral")
        model.config.expert_capacity = 8
        return model
    if kind == "prompt-tuning":
        from peft import PromptTuningConfig, get_peft_model

        return get_peft_model(make_model("qwen3"), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4))
    raise ValueError(kind)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("linear", "linear_attention"),
        ("bloom", "position biases"),
        ("softcap", "softcap"),
        ("eager", "must be 'sdpa'"),
        ("dropout", "attention dropout is 0.1"),
        ("capacity", "expert_capacity"),
        ("prompt-tuning", "virtual tokens"),
    ],
)
def test_models_that_it_would_be_wrong_for_are_refused_or_left_alone(kind, sentence, caplog):
    model = unsupported(kind)
    with pytest.raises(InputError, match=sentence):
        share_prompts(model, "grouped")
    with caplog.at_level(logging.INFO):
        assert share_prompts(model, "auto") is None
    assert [record for record in caplog.records if sentence in record.message]


def test_a_model_that_disagrees_with_its_padded_rows_is_found_by_the_trial(caplog):
    """An attention that looks at places in the row instead of positions passes every check of names."""
    model = with_head(make_model("qwen3"))
    original = model.model.forward

    def forward(*args, position_ids=None, **kwargs):
        return original(*args, position_ids=None, **kwargs)

    model.model.forward = forward
    with pytest.raises(InputError, match="trial"):
        share_prompts(model, "grouped")
    model = with_head(make_model("qwen3"))
    original = model.model.forward
    model.model.forward = forward
    assert share_prompts(model, "auto") is None
    assert share_prompts(model, "auto") is None  # nor when it is asked again
    inputs = padded_batch([(5, [3, 2])])
    assert run(model, inputs).log_probs.shape == (2, 7)
    assert model.prompt_sharing.form == "off"


def test_attention_arguments_that_the_grouped_form_would_drop_are_refused():
    _, shared = padded_and_shared("qwen3", outputs=("log_probs",))
    shared.prompt_sharing.mode = "grouped"
    module = shared.model.layers[0].self_attn
    module.register_forward_pre_hook(
        lambda module, args, kwargs: (args, {**kwargs, "s_aux": torch.zeros(4)}), with_kwargs=True
    )
    with pytest.raises(InputError, match="s_aux"):
        run(shared, padded_batch([(5, [3, 2])]))


@pytest.mark.parametrize("kind", ["qwen3", "qwen3-sliding", "llama", "gemma3", "mixtral"])
def test_models_that_it_is_right_for_are_named_none(kind):
    assert reason_against(make_model(kind)) is None


def test_completions_that_make_no_groups_are_refused():
    ids = torch.ones(3, 4, dtype=torch.long)
    with pytest.raises(ValueError, match="3 completions do not make 2 groups of 2"):
        build_rows(ids[:2], ids[:2], ids, ids, 2)


@pytest.mark.parametrize("fields", [{"shared_prefix": "always"}, {"shared_prefix_tokens": 0}])
def test_values_out_of_range_are_refused(fields, tmp_path):
    from alignkit import PreferenceConfig

    with pytest.raises(ValueError, match=next(iter(fields))):
        PreferenceConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **fields)

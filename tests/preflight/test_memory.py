"""The memory estimate against what PEFT, bitsandbytes, torch and transformers really allocate."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from alignkit.preflight.census import count_model
from alignkit.preflight.memory import (
    GIB,
    MemorySettings,
    estimate_memory,
    layer_activation_bytes,
    logits_bytes,
    quantised_bytes,
)
from alignkit.preflight.settings import Device, memory_settings
from alignkit.preflight.verdict import judge_memory


SETTINGS = MemorySettings(
    pairs=4,
    length=512,
    weight_bytes=4,
    autocast=False,
    quantisation="none",
    peft=False,
    gradient_checkpointing=False,
    optimizer="adamw_torch",
    reference="second",
    sharding="none",
    processes=1,
    device="cpu",
)


def model_config(path: str = "", **options):
    from trl import ModelConfig

    return ModelConfig(model_name_or_path=path, **options)


@pytest.fixture(scope="module")
def census(bundled_model_dir):
    return count_model(bundled_model_dir, model_config(bundled_model_dir, use_peft=True), SimpleNamespace())


@pytest.fixture(scope="module")
def large_census(tmp_path_factory):
    """A 7B model of which only the configuration exists."""
    from transformers import LlamaConfig

    folder = str(tmp_path_factory.mktemp("7b"))
    LlamaConfig(architectures=["LlamaForCausalLM"], dtype="bfloat16").save_pretrained(folder)
    return count_model(folder, model_config(folder, use_peft=True), SimpleNamespace())


def test_weights_equal_the_bytes_of_the_checkpoint(census, bundled_model_dir):
    from safetensors import safe_open

    with safe_open(f"{bundled_model_dir}/model.safetensors", "pt") as file:
        tensors = [file.get_tensor(name) for name in file.keys()]
    stored = sum(tensor.nbytes for tensor in tensors)
    assert quantised_bytes(census, "none", tensors[0].element_size()) == stored


def test_a_7b_model_is_counted_without_its_weights(large_census):
    assert large_census.parameters == 6_738_415_616  # Llama-2-7B
    assert large_census.dtype == "bfloat16"


@pytest.mark.parametrize(
    "options",
    [{}, {"lora_r": 3, "lora_target_modules": ["q_proj", "down_proj"]}, {"lora_target_modules": "all-linear"}],
)
def test_the_adapter_has_the_parameters_of_peft(options, bundled_model_dir):
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM
    from trl import get_peft_config

    config = model_config(bundled_model_dir, use_peft=True, **options)
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(bundled_model_dir), get_peft_config(config))
    trainable = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    assert count_model(bundled_model_dir, config, SimpleNamespace()).adapter.parameters == trainable


@pytest.mark.parametrize("kind", ["4bit", "4bit-double", "8bit"])
def test_quantised_weights_equal_those_of_bitsandbytes(kind, census, bundled_model_dir):
    from transformers import AutoModelForCausalLM
    from trl import get_quantization_config

    config = model_config(
        bundled_model_dir,
        load_in_4bit=kind.startswith("4bit"),
        load_in_8bit=kind == "8bit",
        use_bnb_nested_quant=kind == "4bit-double",
    )
    model = AutoModelForCausalLM.from_pretrained(
        bundled_model_dir, dtype=torch.float32, quantization_config=get_quantization_config(config)
    )
    stored = 0
    for parameter in model.parameters():
        stored += parameter.nbytes
        state = getattr(parameter, "quant_state", None)
        for part in (state, getattr(state, "state2", None)):
            if part is not None:
                stored += part.absmax.nbytes + part.code.nbytes
        if getattr(state, "offset", None) is not None:
            stored += state.offset.nbytes
        if getattr(parameter, "SCB", None) is not None:
            stored += parameter.SCB.nbytes
    assert quantised_bytes(census, kind, 4) == pytest.approx(stored, rel=1e-3)


def test_gradients_and_optimizer_equal_those_of_a_real_step(census, bundled_model_dir):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(bundled_model_dir, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    optimizer.step()
    states = [value for state in optimizer.state.values() for value in state.values() if value.numel() > 1]
    estimate = estimate_memory(census, SETTINGS)
    assert estimate.gradients == sum(parameter.grad.nbytes for parameter in model.parameters())
    assert estimate.optimizer == sum(value.nbytes for value in states)


def small_llama(layers: int):
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=100,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=32,
    )


def saved_bytes(layers: int, dtype, autocast: bool, targets) -> int:
    """Bytes of the distinct tensors that the forward pass of the decoder saves for the backward pass."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(small_llama(layers), dtype=dtype)
    decoder = model.model
    if targets:
        adapted = get_peft_model(model, LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
        adapted.enable_input_require_grads()
        decoder = adapted.get_base_model().model
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, int] = {}
    alive = []

    def pack(tensor):
        alive.append(tensor)  # a freed address would be used again
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", enabled=autocast),
    ):
        decoder.train()(torch.ones(2, 64, dtype=torch.long), use_cache=False)
    return sum(saved.values())


@pytest.mark.parametrize("targets", [None, ["q_proj", "v_proj"], "all-linear"], ids=["full", "lora-qv", "lora-all"])
@pytest.mark.parametrize(
    ("dtype", "autocast"),
    [(torch.float32, False), (torch.bfloat16, False), (torch.float32, True), (torch.bfloat16, True)],
    ids=["float32", "bfloat16", "mixed", "mixed-on-bfloat16"],
)
def test_activations_of_a_layer_are_those_that_autograd_saves(dtype, autocast, targets, tmp_path):
    small_llama(2).save_pretrained(tmp_path)
    config = model_config(str(tmp_path), use_peft=bool(targets), lora_r=4, lora_target_modules=targets)
    census = count_model(str(tmp_path), config, SimpleNamespace())
    settings = replace(SETTINGS, peft=bool(targets), weight_bytes=dtype.itemsize, autocast=autocast)
    measured = saved_bytes(3, dtype, autocast, targets) - saved_bytes(2, dtype, autocast, targets)
    if autocast and dtype == torch.float32:  # 16-bit copies of the weights, counted apart from the activations
        measured -= 2 * sum(rows * columns for rows, columns in census.linear_shapes) // 2
    assert 2 * 64 * layer_activation_bytes(census, settings) == pytest.approx(measured, rel=0.05)


def test_the_logits_never_cost_a_whole_vocabulary(large_census):
    settings = replace(SETTINGS, pairs=16, length=4096, device="cuda", weight_bytes=2, peft=True)
    whole = 2 * 16 * 4096 * large_census.vocabulary * 2
    assert logits_bytes(large_census, settings) < 0.5 * whole
    assert logits_bytes(large_census, replace(settings, device="cpu")) > logits_bytes(large_census, settings)


@pytest.mark.parametrize(
    ("sharding", "divided"),
    [
        ("none", set()),
        ("zero1", {"optimizer"}),
        ("zero2", {"optimizer", "gradients"}),
        ("zero3", {"optimizer", "gradients", "reference"}),
        ("fsdp", {"optimizer", "gradients", "reference"}),
    ],
)
def test_sharding_divides_the_states_it_shards(sharding, divided, large_census):
    alone = estimate_memory(large_census, SETTINGS).parts()
    shared = estimate_memory(large_census, replace(SETTINGS, sharding=sharding, processes=8)).parts()
    for name in ("optimizer", "gradients", "reference"):
        buckets = 2 if name == "gradients" and sharding == "none" else 1
        assert shared[name] == pytest.approx(alone[name] * buckets / (8 if name in divided else 1))
    assert (shared["weights"] < 0.2 * alone["weights"]) == (sharding in ("zero3", "fsdp"))


def test_what_saves_memory_lowers_the_estimate(large_census):
    before = estimate_memory(large_census, SETTINGS).total
    for change in (
        {"gradient_checkpointing": True},
        {"pairs": 1},
        {"length": 128},
        {"weight_bytes": 2},
        {"optimizer": "adamw_8bit"},
        {"reference": "precomputed"},
        {"peft": True, "reference": "shared"},
        {"peft": True, "reference": "shared", "quantisation": "4bit"},
    ):
        assert estimate_memory(large_census, replace(SETTINGS, **change)).total < before


def test_the_verdict_and_the_suggestion_follow_the_device(large_census):
    settings = replace(SETTINGS, weight_bytes=2, peft=True, reference="shared", device="cuda")
    total = estimate_memory(large_census, settings).total

    def judge(capacity):
        return judge_memory(large_census, settings, Device("cuda", "a device", capacity))

    assert judge(None).verdict == "unknown"
    assert (judge(total / 0.8).verdict, judge(total / 0.8).suggestion) == ("fits", "")
    assert judge(total / 0.9).verdict == "tight"
    assert judge(total / 1.1).verdict == "does not fit"
    assert judge(40 * GIB).suggestion.startswith("set gradient_checkpointing: true: then about")
    assert "smaller" in judge(1 * GIB).suggestion


def test_settings_are_read_from_the_configs(census, tmp_path):
    from trl import DPOConfig

    def read(longest=None, model=None, **options):
        training = DPOConfig(output_dir=str(tmp_path), report_to=[], bf16=False, use_cpu=True, **options)
        run = SimpleNamespace(training=training, model=model or model_config())
        return memory_settings(run, census, longest, 1, Device("cpu", "", None), None)

    assert read(max_length=300).length == 300
    assert read(max_length=300, longest=120).length == 120
    assert read().reference == "second"
    assert read(precompute_ref_log_probs=True).reference == "precomputed"
    assert read(model=model_config(use_peft=True)).reference == "shared"
    assert read(model=model_config(dtype="bfloat16")).weight_bytes == 2
    assert read(model_init_kwargs={"dtype": "float16"}).weight_bytes == 2
    quantised = model_config(use_peft=True, load_in_4bit=True, use_bnb_nested_quant=True)
    assert read(model=quantised).quantisation == "4bit-double"

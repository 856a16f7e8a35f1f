"""The memory estimate of online training against what a real run holds at its peak."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from alignkit.preflight.census import count_model
from alignkit.preflight.live_bytes import LiveBytes
from alignkit.preflight.memory import GIB
from alignkit.preflight.online.batch import online_plan
from alignkit.preflight.online.memory import (
    OnlineSettings,
    estimate_online,
    generation_bytes,
    judge_online,
    key_value_bytes,
    online_settings,
)
from alignkit.preflight.settings import Device


SETTINGS = OnlineSettings(
    completions=4,
    generated=16,
    prompt_length=64,
    completion_length=32,
    length=96,
    weight_bytes=4,
    autocast=False,
    quantisation="none",
    peft=False,
    gradient_checkpointing=False,
    optimizer="adamw_torch",
    reference="none",
    sharding="none",
    processes=1,
    device="cpu",
)
CPU = Device("cpu", "", None)


def model_config(path: str, **options):
    from trl import ModelConfig

    return ModelConfig(model_name_or_path=path, lora_r=16, lora_target_modules="all-linear", **options)


@pytest.fixture(scope="module")
def census(bundled_model_dir):
    return count_model(bundled_model_dir, model_config(bundled_model_dir, use_peft=True), SimpleNamespace())


def run_settings(census, tmp_path, rows=64, device=CPU, model=None, **options):
    from alignkit import OnlineConfig

    given = {"per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 100} | options
    fixed = {"report_to": [], "gradient_checkpointing": False, "bf16": False, "use_cpu": True}
    args = OnlineConfig(output_dir=str(tmp_path), **fixed, **given)
    run = SimpleNamespace(training=args, model=model or model_config(""))
    return online_settings(run, census, online_plan(args, rows, 1), 64, device, None, 0)


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_the_peak_is_that_of_a_real_run(lora, census, bundled_model_dir, tmp_path):
    from peft import LoraConfig

    from alignkit import OnlineConfig, OnlineTrainer
    from alignkit.data import load

    args = OnlineConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=24,
        generation_kwargs={"min_new_tokens": 24},  # as long as they may be, as the estimate supposes
        reward_funcs=["boxed_once"],
        self_checks=False,
        shared_prefix="off",  # sharing prompts takes less than the estimate, which is for padded rows
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        max_steps=2,
        beta=0.0 if lora else 0.1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    data = load("bundled/math", split="train").select([0] * 16)  # prompts of one length
    adapter = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM") if lora else None
    with LiveBytes() as live:
        trainer = OnlineTrainer(bundled_model_dir, args=args, train_dataset=data, peft_config=adapter)
        trainer.train()
    prompt = len(trainer._tokenize_prompts([data[0]["prompt"]])[0][0])
    run = SimpleNamespace(training=args, model=model_config(bundled_model_dir, use_peft=lora))
    settings = online_settings(run, census, online_plan(args, 16, 1), prompt, CPU, None, 0)
    assert estimate_online(census, settings).total == pytest.approx(live.peak, rel=0.1)


@pytest.mark.parametrize("new_tokens", [2, 96], ids=["reading", "writing"])
def test_generation_holds_what_is_estimated(new_tokens, census, bundled_model_dir):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(bundled_model_dir, dtype=torch.float32)
    prompts = torch.full((16, 8 if new_tokens == 96 else 64), 9)
    options = {"attention_mask": torch.ones_like(prompts), "do_sample": False, "return_dict_in_generate": True}
    with LiveBytes() as live, torch.no_grad():
        model(prompts[:1, :1])  # the weights are counted where they are first seen
        before = live.live
        output = model.generate(prompts, max_new_tokens=new_tokens, min_new_tokens=new_tokens, **options)
    length = prompts.shape[1] + new_tokens
    settings = replace(SETTINGS, prompt_length=prompts.shape[1], completion_length=new_tokens, length=length)
    kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in output.past_key_values.layers)
    assert key_value_bytes(census, settings, length - 1) == kept  # the last token is never read
    assert generation_bytes(census, settings) == pytest.approx(live.peak - before, rel=0.15)


def test_training_and_generation_take_turns(census):
    small = estimate_online(census, replace(SETTINGS, generated=1))
    large = estimate_online(census, replace(SETTINGS, generated=100_000))
    assert small.total == sum(small.parts().values()) - small.generation
    training = large.gradients + large.activations + large.logits
    assert large.total == sum(large.parts().values()) - training
    stays = estimate_online(census, replace(SETTINGS, engine="vllm", engine_bytes=GIB))
    assert stays.total == pytest.approx(sum(stays.parts().values()))


def test_a_gpu_projects_the_completions_only(census):
    assert replace(SETTINGS, device="cuda").scored_tokens == 4 * 32
    assert SETTINGS.scored_tokens == 4 * 95


def test_settings_are_read_from_the_configs(census, tmp_path):
    def read(**options):
        return run_settings(census, tmp_path, **options)

    assert (read().completions, read().generated, read().length) == (8, 8, 64 + 100)
    assert read(steps_per_generation=4).generated == 32
    assert read().reference == "none"
    assert read(beta=0.1).reference == "second"
    assert read(beta=0.1, model=model_config("", use_peft=True)).reference == "shared"
    gpu = Device("cuda", "", 10 * GIB)
    shares = read(use_vllm=True, vllm_gpu_memory_utilization=0.3, device=gpu)
    assert (shares.engine, shares.engine_bytes) == ("vllm", pytest.approx(3 * GIB))
    assert read(use_vllm=True, vllm_enable_sleep_mode=True, device=gpu).engine == "vllm-sleep"
    assert (read(use_vllm=True, vllm_mode="server").engine, read().engine) == ("server", "transformers")


def test_the_suggestion_follows_what_is_too_large(census):
    def suggestion(settings):
        capacity = 1.02 * estimate_online(census, replace(settings, generated=1, completions=1)).total
        return judge_online(census, settings, Device("cuda", "a device", capacity)).suggestion

    checkpointed = replace(SETTINGS, gradient_checkpointing=True, device="cuda")
    assert suggestion(replace(checkpointed, completions=512)).startswith("set per_device_train_batch_size: 1")
    assert "halve the generation batch to 500" in suggestion(
        replace(checkpointed, completions=1, generated=1000, weight_bytes=2, peft=True, quantisation="4bit")
    )

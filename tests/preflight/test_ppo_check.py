"""`alignkit check` for the PPO methods: the critic's and the DPO model's memory, and what is not there."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from alignkit.cli import main
from alignkit.preflight.census import count_model
from alignkit.preflight.live_bytes import LiveBytes
from alignkit.preflight.online.batch import online_plan
from alignkit.preflight.online.memory import estimate_online, online_settings
from alignkit.preflight.settings import Device


CPU = Device("cpu", "", None)
ROWS = 16


@pytest.fixture(scope="module")
def census(bundled_model_dir):
    return count_model(bundled_model_dir, model_config(bundled_model_dir, True), SimpleNamespace())


def model_config(path, lora):
    from trl import ModelConfig

    return ModelConfig(model_name_or_path=path, use_peft=lora, lora_r=16, lora_target_modules="all-linear")


def settings_of(census, tmp_path, path="", key="ppo", lora=True, prompt=64, **options):
    from alignkit.catalog import get

    fixed = {"report_to": [], "gradient_checkpointing": False, "bf16": False, "use_cpu": True}
    given = {"per_device_train_batch_size": 8, "max_completion_length": 24, **options}
    args = get(key).load_config()(output_dir=str(tmp_path), **fixed, **given)
    run = SimpleNamespace(training=args, model=model_config(path, lora))
    return args, online_settings(run, census, online_plan(args, ROWS, 1), prompt, CPU, None, 0)


@pytest.mark.parametrize(
    "critic, lora",
    [
        ("separate", True),
        pytest.param("separate", False, marks=pytest.mark.slow),
        ("adapter", True),
        pytest.param("shared_head", True, marks=pytest.mark.slow),
    ],
)
def test_the_peak_is_that_of_a_real_run(critic, lora, census, bundled_model_dir, tmp_path):
    from peft import LoraConfig

    from alignkit import PPOTrainer
    from alignkit.data import load

    options = {
        "critic": critic,
        "generation_kwargs": {"min_new_tokens": 24},
        "reward_funcs": ["boxed_once"],
        "self_checks": False,
        "shared_prefix": "off",
        "max_steps": 2,
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    args, _ = settings_of(census, tmp_path, lora=lora, **options)
    data = load("bundled/math", split="train").select([0] * ROWS)  # prompts of one length
    adapter = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM") if lora else None
    with LiveBytes() as live:
        trainer = PPOTrainer(bundled_model_dir, args=args, train_dataset=data, peft_config=adapter)
        trainer.train()
    prompt = len(trainer._tokenize_prompts([data[0]["prompt"]])[0][0])
    _, settings = settings_of(census, tmp_path, lora=lora, prompt=prompt, **options)
    assert estimate_online(census, settings).total == pytest.approx(live.peak, rel=0.1)


def test_the_parameters_of_each_critic_are_those_of_the_code(census, bundled_model_dir, tmp_path):
    from transformers import AutoModel

    backbone = sum(item.numel() for item in AutoModel.from_pretrained(bundled_model_dir).parameters())
    head = census.hidden + 1

    def critic(**options):
        return settings_of(census, tmp_path, **options)[1].critic

    assert critic(critic="separate").parameters == backbone + head
    assert critic(critic="separate", critic_model_name_or_path=bundled_model_dir).parameters == backbone + head
    assert critic(critic="shared_head").parameters == head
    assert critic(critic="adapter").parameters == census.adapter.parameters + head
    assert critic(critic="adapter").kept_bytes == 16 * (census.adapter.parameters + head)


def test_reference_and_frozen_models_follow_the_token_rewards(census, tmp_path):
    def read(**options):
        return settings_of(census, tmp_path, **options)[1]

    assert read(lora=False).reference == "second" and read().reference == "shared"
    assert read(lora=False, kl_coef=0.0).reference == "none"
    assert read(key="rto", lora=False, kl_coef=0.0, dpo_model="a/b").reference == "second"
    assert read(key="rto", lora=False, kl_coef=0.0, dpo_model="a/b", dpo_ref="a/c").reference == "none"
    assert read(key="rto", lora=False, dpo_model="a/b").frozen_models == 4 * census.parameters
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x" * 100)
    assert read(key="rto", dpo_model=str(tmp_path)).frozen_models == 100
    assert read().frozen_models == 0.0


def test_the_critics_pass_and_the_policys_take_turns(census, tmp_path):
    settings = settings_of(census, tmp_path)[1]
    estimate = estimate_online(census, settings)
    assert estimate.critic_activations > 0.5 * estimate.activations
    without = estimate_online(census, replace(settings, critic=None))
    assert "critic" not in without.parts()
    spare = max(0.0, estimate.critic_activations - estimate.activations - estimate.logits)
    assert estimate.total == pytest.approx(without.total + estimate.critic + spare)


def check(capsys, method, *flags):
    base = [
        "--dataset_name",
        "bundled/math",
        "--model_name_or_path",
        "bundled/tiny-math",
        "--reward_funcs",
        "math_accuracy",
    ]
    code = main(["check", method, *base, "--per_device_train_batch_size", "8", *flags])
    return code, *capsys.readouterr()


def test_the_report_shows_the_critic(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    code, output, errors = check(capsys, "ppo", "--output_dir", str(tmp_path / "out"))
    assert code == 0, errors
    assert "a model of its own" in output and "critic activations" in output and "gae" in output
    assert output.rstrip().endswith("Ready: alignkit train ppo")


@pytest.mark.parametrize(
    "method, flags, message",
    [
        ("rto", (), "`dpo_model` is missing"),
        ("rto", ("--dpo_model", "outputs/not/there"), "there is no such folder; train that model first"),
        ("ppo", ("--critic_model_name_or_path", "/no/such"), "there is no such folder"),
        ("ppo", ("--critic", "adapter"), "set `use_peft: true`"),
    ],
)
def test_what_is_not_there_is_said_before_the_run(capsys, tmp_path, monkeypatch, method, flags, message):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    code, _, errors = check(capsys, method, "--output_dir", str(tmp_path / "out"), *flags)
    assert code == 2 and message in errors


def test_a_separate_critic_is_counted_in_float32(census, tmp_path):
    _, settings = settings_of(census, tmp_path)
    half = estimate_online(census, replace(settings, weight_bytes=2))
    assert half.critic == estimate_online(census, settings).critic
    assert half.critic_activations == estimate_online(census, settings).critic_activations

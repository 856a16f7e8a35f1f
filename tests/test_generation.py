"""Generation: results depend on model, prompt, sampling and seed, and on nothing else."""

import json
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
from tiny_qwen import MAX_POSITIONS, save_adapter, save_model

from alignkit.errors import InputError
from alignkit.generation import (
    LoadOptions,
    SamplingParams,
    derive_seed,
    fingerprint_source,
    load_generator,
    load_tokenizer,
    render_prompt,
    resolve_source,
)


PROMPTS = ["2+2=", "What is 17 + 5?", "x", "a longer prompt, so that the others are padded", "12-7="]
GREEDY = SamplingParams(max_new_tokens=12)
SAMPLED = SamplingParams(temperature=1.0, top_p=0.95, top_k=50, max_new_tokens=12)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory) -> str:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def adapter_dir(tmp_path_factory, model_dir) -> str:
    return save_adapter(tmp_path_factory.mktemp("adapter"), model_dir)


@pytest.fixture(scope="module")
def generator(model_dir):
    return load_generator(model_dir)


def run(generator, prompts, sampling, seeds=None, batch_size=None):
    """Token ids in the order of the prompts."""
    if batch_size is not None:
        generator.batch_size = batch_size
    generations = sorted(generator.generate(prompts, sampling, seeds), key=lambda generation: generation.index)
    assert [generation.index for generation in generations] == list(range(len(prompts)))
    return [generation.token_ids for generation in generations]


def test_greedy_is_the_argmax_of_the_unpadded_model(generator):
    import torch

    for prompt, tokens in zip(PROMPTS, run(generator, PROMPTS, GREEDY, batch_size=3), strict=True):
        ids = generator.tokenizer(prompt)["input_ids"]
        for token in tokens:
            with torch.no_grad():
                logits = generator.model(torch.tensor([ids])).logits[0, -1]
            assert int(logits.argmax()) == token
            ids = [*ids, token]


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED])
def test_batch_size_does_not_change_results(generator, sampling):
    seeds = [derive_seed(0, prompt) for prompt in PROMPTS]
    assert run(generator, PROMPTS, sampling, seeds, 1) == run(generator, PROMPTS, sampling, seeds, 4)


def test_sampled_completion_depends_on_its_own_seed_only(generator):
    seeds = [derive_seed(0, prompt) for prompt in PROMPTS]
    together = run(generator, PROMPTS, SAMPLED, seeds, 5)
    reversed_order = run(generator, PROMPTS[::-1], SAMPLED, seeds[::-1], 2)
    assert together == reversed_order[::-1]
    assert together != run(generator, PROMPTS, SAMPLED, [seed + 1 for seed in seeds], 5)


def test_sampler_draws_from_the_model_distribution():
    import torch

    from alignkit.generation.sampling import SeededSampler, sampling_probs

    rows = 4000
    scores = torch.tensor([[2.0, 1.0, 0.5, 0.0, -1.0, -3.0]])
    sampling = SamplingParams(temperature=0.7, top_k=5, top_p=0.9, max_new_tokens=1)
    chosen = SeededSampler(sampling, range(rows))(torch.zeros(rows, 1), scores.repeat(rows, 1)).argmax(-1)
    shares = torch.bincount(chosen, minlength=6) / rows
    expected = sampling_probs(scores, sampling)[0]
    expected = expected / expected.sum()
    assert (shares - expected).abs().max() < 0.03
    assert shares[expected == 0].sum() == 0


def test_top_p_keeps_the_smallest_set_that_reaches_the_mass():
    import torch

    from alignkit.generation.sampling import sampling_probs

    scores = torch.tensor([[0.2, 0.5, 0.3]]).log()
    kept = lambda top_p: (sampling_probs(scores, SamplingParams(temperature=1, top_p=top_p)) > 0)[0].tolist()  # noqa: E731
    assert kept(0.4) == [False, True, False]
    assert kept(0.6) == [False, True, True]
    assert kept(1.0) == [True, True, True]


def test_top_k_one_is_greedy(generator):
    sampling = SamplingParams(temperature=1.3, top_k=1, max_new_tokens=12)
    assert run(generator, PROMPTS, sampling) == run(generator, PROMPTS, GREEDY)


def test_stops_at_end_tokens_of_generation_config_and_of_tokenizer(generator, model_dir):
    free = next(iter(generator.generate([PROMPTS[0]], GREEDY)))
    assert free.finish_reason == "length" and free.n_tokens == GREEDY.max_new_tokens
    last = free.token_ids[4]
    end = free.token_ids.index(last)
    stopping = load_generator(model_dir)
    stopping.model.generation_config.eos_token_id = [last]
    configured = type(stopping)(stopping.model, stopping.tokenizer)
    assert set(configured.stop_ids) == {last, stopping.tokenizer.eos_token_id}
    stopped = next(iter(configured.generate([PROMPTS[0]], GREEDY)))
    assert stopped.finish_reason == "stop"
    assert stopped.token_ids == free.token_ids[: end + 1]


def test_sampling_defaults_of_the_model_are_not_used(model_dir, generator):
    other = load_generator(model_dir)
    other.model.generation_config.update(repetition_penalty=9.0, do_sample=True, temperature=5.0, top_k=3)
    assert run(other, PROMPTS, GREEDY) == run(generator, PROMPTS, GREEDY)


def test_context_limit_of_one_prompt_does_not_touch_the_others(generator):
    long = "7" * (MAX_POSITIONS - 3)
    alone = run(generator, PROMPTS, GREEDY)
    mixed = run(generator, [long, *PROMPTS], GREEDY, batch_size=8)
    assert len(mixed[0]) == 3 and mixed[1:] == alone
    with pytest.raises(InputError, match=r"prompt 1 .* has 96 tokens"):
        run(generator, ["x", "7" * MAX_POSITIONS], GREEDY)


def test_chat_prompts_are_rendered_with_the_generation_prompt(generator):
    messages = [{"role": "user", "content": "2+2="}]
    rendered = render_prompt(generator.tokenizer, messages)
    assert rendered == "<|user|>2+2=<|assistant|>"
    assert run(generator, [messages], GREEDY) == run(generator, [rendered], GREEDY)


def test_messages_without_a_template_are_refused(model_dir):
    tokenizer = load_tokenizer(resolve_source(model_dir))
    tokenizer.chat_template = None
    with pytest.raises(InputError, match=r"no chat template.*--chat_template"):
        render_prompt(tokenizer, [{"role": "user", "content": "x"}])


def test_template_error_names_the_roles(model_dir):
    template = "{{ raise_exception('no system role') if messages[0].role == 'system' }}"
    tokenizer = load_tokenizer(resolve_source(model_dir), chat_template=template)
    with pytest.raises(InputError, match=r"system.*no system role"):
        render_prompt(tokenizer, [{"role": "system", "content": "x"}])


def test_adapter_is_applied_on_its_base(adapter_dir, model_dir, generator):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    source = resolve_source(adapter_dir)
    assert source.is_adapter and source.model_path == model_dir and source.tokenizer_path == model_dir
    adapted = load_generator(source)
    tokens = run(adapted, PROMPTS, GREEDY)
    assert tokens != run(generator, PROMPTS, GREEDY)
    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model_dir), adapter_dir).merge_and_unload()
    ids = torch.tensor([generator.tokenizer(PROMPTS[0])["input_ids"]])
    with torch.no_grad():
        assert int(merged(ids).logits[0, -1].argmax()) == tokens[0][0]


def test_adapter_with_its_own_tokenizer_is_read_with_it(tmp_path, model_dir):
    adapter = save_adapter(tmp_path, model_dir, chat_template="{{ messages[0].content }}!")
    tokenizer = load_tokenizer(resolve_source(adapter))
    assert render_prompt(tokenizer, [{"role": "user", "content": "x"}]) == "x!"


def test_four_bit_base_with_adapter_generates(adapter_dir):
    quantized = load_generator(adapter_dir, LoadOptions(load_in_4bit=True))
    kinds = {type(module).__name__ for module in quantized.model.modules()}
    assert "Linear4bit" in kinds
    assert len(run(quantized, PROMPTS[:2], GREEDY)[0]) > 0


def test_dtype_defaults_to_float32_on_cpu(generator, model_dir):
    import torch

    assert generator.model.dtype == torch.float32
    assert load_generator(model_dir, LoadOptions(dtype="bfloat16")).model.dtype == torch.bfloat16


def test_alias_of_an_adapters_base_is_resolved(tmp_path, model_dir, adapter_dir):
    shutil.copytree(adapter_dir, tmp_path / "a")
    config = tmp_path / "a" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": "bundled/x"}))
    source = resolve_source(str(tmp_path / "a"), resolve=lambda name: model_dir if name == "bundled/x" else name)
    assert source.model_path == model_dir and source.base is not None and source.base.name == "bundled/x"


def test_missing_models_are_refused_by_name(tmp_path, model_dir, adapter_dir):
    with pytest.raises(InputError, match="does not exist"):
        resolve_source(str(tmp_path / "nothing" / "here"))
    with pytest.raises(InputError, match=r"neither config.json nor adapter_config.json"):
        resolve_source(str(tmp_path))
    (tmp_path / "checkpoint-9").mkdir()
    (tmp_path / "checkpoint-10").mkdir()
    with pytest.raises(InputError, match=r"did you mean .*checkpoint-10"):
        resolve_source(str(tmp_path))
    with pytest.raises(InputError, match="neither a folder here nor a model"):
        resolve_source("nobody/no-such-model")
    weights = next(Path(model_dir).glob("*.safetensors"))
    with pytest.raises(InputError, match="is a file"):
        resolve_source(str(weights))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="no weights"):
        resolve_source(str(tmp_path))


def test_adapter_whose_base_is_missing_is_refused_and_can_be_given_another(tmp_path, model_dir, adapter_dir):
    shutil.copytree(adapter_dir, tmp_path / "a")
    config = tmp_path / "a" / "adapter_config.json"
    gone = {**json.loads(config.read_text()), "base_model_name_or_path": str(tmp_path / "gone")}
    config.write_text(json.dumps(gone))
    with pytest.raises(InputError, match=r"base model .*gone of adapter .*--base_model"):
        resolve_source(str(tmp_path / "a"))
    assert resolve_source(str(tmp_path / "a"), base_model=model_dir).model_path == model_dir
    with pytest.raises(InputError, match="itself an adapter"):
        resolve_source(str(tmp_path / "a"), base_model=adapter_dir)


def test_adapter_that_does_not_fit_its_base_is_refused(tmp_path, adapter_dir):
    from transformers import AutoModelForCausalLM, Qwen3Config

    config = Qwen3Config(vocab_size=104, hidden_size=16, intermediate_size=16, num_hidden_layers=2)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    for file in Path(resolve_source(adapter_dir).model_path).glob("tokenizer*"):
        shutil.copy(file, tmp_path)
    with pytest.raises(InputError, match="does not fit its base"):
        load_generator(adapter_dir, LoadOptions(base_model=str(tmp_path)))


def test_fingerprint_follows_the_weights_and_the_template_not_the_folder(tmp_path, model_dir, adapter_dir):
    original = fingerprint_source(resolve_source(model_dir))
    copy = tmp_path / "copy"
    shutil.copytree(model_dir, copy)
    assert fingerprint_source(resolve_source(str(copy))) == original
    assert fingerprint_source(resolve_source(adapter_dir)) != original
    weights = next(copy.glob("*.safetensors"))
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    changed = fingerprint_source(resolve_source(str(copy)))
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    assert len({original, changed, fingerprint_source(resolve_source(str(copy)))}) == 3


def test_fingerprint_of_a_large_file_sees_a_change_in_any_trained_block(tmp_path, monkeypatch):
    from alignkit.generation import sources

    monkeypatch.setattr(sources, "WHOLE_FILE_BYTES", 1000)
    monkeypatch.setattr(sources, "BLOCK_BYTES", 16)
    file = tmp_path / "model.safetensors"
    file.write_bytes(bytes(5000))
    before = sources.file_digest(file)
    file.write_bytes(bytes(4990) + b"1" * 10)
    assert sources.file_digest(file) != before
    file.write_bytes(bytes(5001))
    assert sources.file_digest(file) != before


def test_hub_name_is_known_by_its_commit(tmp_path, monkeypatch):
    import huggingface_hub.constants

    commits = {}
    for commit in ("a" * 40, "b" * 40):
        repo = tmp_path / commit / "models--owner--name"
        (repo / "refs").mkdir(parents=True)
        (repo / "refs" / "main").write_text(commit)
        (repo / "snapshots" / commit).mkdir(parents=True)
        (repo / "snapshots" / commit / "config.json").write_text("{}")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / commit))
        source = resolve_source("owner/name")
        assert (source.path, source.revision) == ("owner/name", commit)
        commits[commit] = fingerprint_source(source)
    assert len(set(commits.values())) == 2


@pytest.mark.parametrize(
    ("field", "value"), [("temperature", -0.1), ("top_p", 0.0), ("top_p", 1.1), ("top_k", -1), ("max_new_tokens", 0)]
)
def test_sampling_out_of_range_is_refused(field, value):
    with pytest.raises(InputError, match=f"{field} is {value}"):
        SamplingParams(**{field: value})


def test_vllm_missing_is_said(monkeypatch, model_dir):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(InputError, match=r"pip install .*alignkit\[vllm\]"):
        load_generator(model_dir, LoadOptions(backend="vllm"))


def test_vllm_gets_model_adapter_seeds_and_stop_tokens(monkeypatch, model_dir, adapter_dir):
    calls = {}

    class LLM:
        def __init__(self, **arguments):
            calls["engine"] = arguments

        def generate(self, prompts, params, lora_request, use_tqdm):
            calls.setdefault("prompts", []).extend(prompts)
            calls.setdefault("params", []).extend(params)
            calls["lora"] = lora_request
            done = types.SimpleNamespace(text="ok", token_ids=[5, 1], finish_reason="stop")
            cut = types.SimpleNamespace(text="no", token_ids=[5, 6], finish_reason="length")
            return [types.SimpleNamespace(outputs=[done if i % 2 == 0 else cut]) for i in range(len(prompts))]

    request = types.ModuleType("vllm.lora.request")
    request.LoRARequest = lambda *arguments: arguments
    vllm = types.ModuleType("vllm")
    vllm.LLM, vllm.SamplingParams = LLM, lambda **arguments: arguments
    for name, module in {
        "vllm": vllm,
        "vllm.lora": types.ModuleType("vllm.lora"),
        "vllm.lora.request": request,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("alignkit.generation.vllm_backend.CHUNK_SIZE", 2)
    loaded = load_generator(adapter_dir, LoadOptions(backend="vllm", load_in_4bit=True))
    assert calls["engine"]["model"] == model_dir and calls["engine"]["max_lora_rank"] == 8
    assert calls["engine"]["quantization"] == "bitsandbytes" and calls["engine"]["generation_config"] == "vllm"
    seeds = [11, 12, 13]
    outputs = list(loaded.generate(PROMPTS[:3], SAMPLED, seeds))
    assert [(one.index, one.finish_reason) for one in outputs] == [(0, "stop"), (1, "length"), (2, "stop")]
    assert [params["seed"] for params in calls["params"]] == seeds
    assert all(params["stop_token_ids"] == [1] and params["max_tokens"] == 12 for params in calls["params"])
    assert calls["prompts"][0] == {"prompt_token_ids": loaded.tokenizer(PROMPTS[0])["input_ids"]}
    assert calls["lora"][2] == adapter_dir


def test_importing_generation_and_rewards_and_the_options_loads_no_torch():
    code = (
        "import sys, alignkit.generation, alignkit.rewards, alignkit.eval.options, alignkit.cli.eval;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'numpy', 'sympy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0

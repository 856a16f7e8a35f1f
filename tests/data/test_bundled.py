import hashlib
import json

import pytest

from alignkit.data.bundled import BUNDLED_FOLDER, DATASETS, MODEL_NAME, dataset_path, resolve_model
from alignkit.errors import InputError


MANIFEST = json.loads((BUNDLED_FOLDER / "MANIFEST.json").read_text(encoding="utf-8"))
PROMPT = [{"role": "user", "content": "Ana has 3 pens and buys 4. How many?"}]
ANSWER = [{"role": "assistant", "content": "3+4=7\n\\boxed{7}"}]


def read(name):
    return [json.loads(line) for line in dataset_path(name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(resolve_model(MODEL_NAME))


def test_manifest_lists_every_file_with_its_checksum():
    found = {
        path.relative_to(BUNDLED_FOLDER).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in BUNDLED_FOLDER.rglob("*")
        if path.is_file() and path.name != "MANIFEST.json"
    }
    assert found == {name: entry["sha256"] for name, entry in MANIFEST["files"].items()}


def test_accuracy_before_alignment_leaves_room_both_ways():
    assert 0.35 <= MANIFEST["greedy_accuracy_on_math_eval"] <= 0.65


def test_model_is_small_float32_and_ends_on_the_chat_end_token(tokenizer):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(resolve_model(MODEL_NAME))
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert (BUNDLED_FOLDER / "model" / "model.safetensors").stat().st_size < 4_000_000
    assert tokenizer.convert_ids_to_tokens(model.generation_config.eos_token_id) == "<|im_end|>"
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id


def test_greedy_accuracy_is_the_recorded_one(tokenizer):
    import re

    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(resolve_model(MODEL_NAME))
    rows = read("bundled/math_eval")
    heads = tokenizer.apply_chat_template([row["prompt"] for row in rows], add_generation_prompt=True, tokenize=False)
    batch = tokenizer(heads, return_tensors="pt", padding=True, return_token_type_ids=False)
    with torch.no_grad():
        ids = model.generate(**batch, do_sample=False, max_new_tokens=48)
    texts = tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    boxes = [(re.findall(r"\\boxed\{(\d+)\}", text) or [None])[-1] for text in texts]
    right = sum(box == row["answer"] for box, row in zip(boxes, rows, strict=True))
    # Another processor rounds differently, so a few near ties may decode otherwise.
    assert right / len(rows) == pytest.approx(MANIFEST["greedy_accuracy_on_math_eval"], abs=0.03)


def test_prompt_is_an_exact_token_prefix_and_the_turn_ends_in_eos(tokenizer):
    head = tokenizer.apply_chat_template(PROMPT, add_generation_prompt=True)["input_ids"]
    whole = tokenizer.apply_chat_template(PROMPT + ANSWER, return_dict=True, return_assistant_tokens_mask=True)
    assert whole["input_ids"][: len(head)] == head
    assert whole["input_ids"][-1] == tokenizer.eos_token_id
    assert whole["assistant_masks"] == [0] * len(head) + [1] * (len(whole["input_ids"]) - len(head))
    longer = tokenizer.apply_chat_template(PROMPT + ANSWER + PROMPT, add_generation_prompt=True)["input_ids"]
    assert longer[: len(whole["input_ids"])] == whole["input_ids"]


def test_unknown_characters_become_unk_and_known_text_survives(tokenizer):
    assert tokenizer("é→7")["input_ids"][:2] == [tokenizer.unk_token_id] * 2
    text = ANSWER[0]["content"]
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer(text)["input_ids"]) == len(text)


def test_every_data_set_has_its_columns_and_a_useful_size():
    columns = {
        "bundled/preference": {"prompt", "chosen", "rejected"},
        "bundled/preference_scored": {
            *("prompt", "chosen", "rejected", "reward_margin"),
            *("chosen_margin_rewards", "rejected_margin_rewards"),
            *("chosen_correctness", "rejected_correctness", "chosen_brevity", "rejected_brevity"),
        },
        "bundled/math": {"prompt", "answer", "solution"},
        "bundled/math_tasks": {"prompt", "task", "answer", "baseline_completion"},
        "bundled/sft": {"prompt", "completion"},
        "bundled/math_eval": {"prompt", "answer", "solution"},
    }
    assert set(columns) == set(DATASETS)
    for name, expected in columns.items():
        rows = read(name)
        assert 300 <= len(rows) <= 2500
        assert all(set(row) == expected for row in rows)


def test_no_question_of_math_eval_is_in_any_other_set():
    held_out = {row["prompt"][0]["content"] for row in read("bundled/math_eval")}
    for name in DATASETS:
        if name != "bundled/math_eval":
            assert held_out.isdisjoint(row["prompt"][0]["content"] for row in read(name))


def test_solutions_end_in_the_gold_answer_after_true_steps():
    for name in ("bundled/math", "bundled/math_eval"):
        for row in read(name):
            *steps, box = row["solution"].split("\n")
            assert box == f"\\boxed{{{row['answer']}}}"
            assert steps[-1].endswith(f"={row['answer']}")
            for step in steps:
                left, right = step.split("=")
                sign = 1 if "+" in left else -1
                first, second = left.replace("+", "-").split("-")
                assert int(first) + sign * int(second) == int(right)


def test_completions_are_short():
    for name in ("bundled/preference", "bundled/preference_scored"):
        for row in read(name):
            assert len(row["chosen"][0]["content"]) <= 48
            assert len(row["rejected"][0]["content"]) <= 48


def test_scored_margins_fit_tau_and_a_small_share_is_negative():
    margins = [row["reward_margin"] for row in read("bundled/preference_scored")]
    assert 0.01 < sum(margin < 0 for margin in margins) / len(margins) < 0.15
    assert sum(abs(margin) < 9 for margin in margins) / len(margins) > 0.9
    assert sum(abs(margin) < 7 for margin in margins) / len(margins) > 0.7


def test_correctness_and_brevity_conflict_in_a_good_share_of_the_scored_pairs():
    rows = read("bundled/preference_scored")
    better = [row for row in rows if row["chosen_correctness"] > row["rejected_correctness"]]
    longer = [row for row in better if row["chosen_brevity"] < row["rejected_brevity"]]
    assert len(better) / len(rows) > 0.75
    assert len(longer) / len(better) > 0.2
    assert all(row["chosen_margin_rewards"] == [row["chosen_brevity"]] for row in rows)
    assert all(row["rejected_margin_rewards"] == [row["rejected_brevity"]] for row in rows)


def test_other_names_pass_and_unknown_bundled_names_are_refused():
    assert resolve_model("Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B"
    with pytest.raises(InputError, match="bundled/tiny-math"):
        resolve_model("bundled/huge")
    with pytest.raises(InputError, match="bundled/math_eval"):
        dataset_path("bundled/nothing")

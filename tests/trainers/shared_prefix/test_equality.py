"""Shared rows give the log-probabilities and gradients of padded rows, whatever the model and the lengths."""

import copy

import pytest
import torch
from shared_prefix_models import FIELDS, log_probs_and_gradients, make_model, padded_and_shared, padded_batch, run

from alignkit.trainers.shared_prefix import attention_mask, build_rows, share_prompts, unpack


SHAPES = {
    "pairs": [(9, [5, 3]), (4, [11, 2]), (14, [3, 3])],
    "one-group": [(8, [4, 7, 1])],
    "prompt-of-one-token": [(1, [4, 5, 1]), (1, [2])],
    "no-group": [(12, [6]), (3, [2])],
    "empty-completions": [(8, [0, 5, 1, 7]), (3, [0, 0]), (15, [4])],
    "one-token-completions": [(6, [1, 1, 1, 1])],
}
FORMS = ("mask", "grouped", "plain")
KINDS = ("qwen3", "qwen3-sliding", "llama", "mistral", "gemma3", "mixtral")


@pytest.mark.parametrize("kind", KINDS)
def test_log_probs_and_gradients_equal_those_of_padded_rows(kind):
    padded, shared = padded_and_shared(kind)
    router = {"output_router_logits": True} if kind == "mixtral" else {}
    for name, groups in SHAPES.items():
        for side in ("left", "right"):
            inputs = padded_batch(groups, side)
            expected, gradients = log_probs_and_gradients(padded, inputs, **router)
            largest = max(float(item.abs().max()) for item in gradients.values())
            for form in FORMS:
                shared.prompt_sharing.mode = form
                output, own = log_probs_and_gradients(shared, inputs, **router)
                where = f"{name}, {side}, {form}"
                assert shared.prompt_sharing.form == form, where
                for field in FIELDS:
                    difference = (getattr(output, field).float() - getattr(expected, field).float()).abs().max()
                    assert difference <= 1e-5, f"{field}: {where}"
                assert own.keys() == gradients.keys(), where
                for weight, gradient in gradients.items():
                    assert (own[weight] - gradient).abs().max() <= 1e-5 * largest, f"{weight}: {where}"
                assert torch.equal(output.label_mask, expected.label_mask), where
                if router:
                    assert output.aux_loss.item() == pytest.approx(expected.aux_loss.item(), abs=1e-5), where


@pytest.mark.parametrize("kind", ["qwen3", "gemma3"])
def test_float64_agrees_to_rounding_with_explicit_positions(kind):
    padded, shared = padded_and_shared(kind, torch.float64, outputs=("log_probs",))
    inputs = padded_batch(SHAPES["empty-completions"])
    positions = (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    expected = run(padded, inputs, position_ids=positions).log_probs
    for form in ("mask", "grouped"):
        shared.prompt_sharing.mode = form
        # TRL's head accumulates in float32, whatever the dtype of the model.
        assert (run(shared, inputs).log_probs - expected).abs().max() <= 1e-9


@pytest.mark.parametrize("form", ["mask", "grouped"])
def test_changing_a_completion_leaves_the_others_bit_for_bit(form):
    _, shared = padded_and_shared("qwen3", outputs=("log_probs",))
    shared.prompt_sharing.mode = form
    inputs = padded_batch([(9, [5, 3, 6]), (4, [4, 2])])
    before = run(shared, inputs).log_probs
    places = inputs["labels"][1] != -100
    inputs["input_ids"][1, places] = (inputs["input_ids"][1, places] + 1) % 97
    inputs["labels"][1, places] = inputs["input_ids"][1, places]
    after = run(shared, inputs).log_probs
    others = [0, 2, 3, 4]
    assert torch.equal(after[others], before[others])
    assert not torch.equal(after[1], before[1])


@pytest.mark.parametrize("form", ["mask", "grouped"])
def test_no_gradient_flows_between_completions(form):
    _, shared = padded_and_shared("llama", outputs=("log_probs",))
    shared.prompt_sharing.mode = form
    caught = []
    handle = shared.get_input_embeddings().register_forward_hook(
        lambda module, args, output: caught.append(output.requires_grad_().retain_grad() or output)
    )
    output = run(shared, padded_batch([(7, [4, 5, 3])]))
    handle.remove()
    output.log_probs[1].sum().backward()
    layout = shared.prompt_sharing.layout
    reached = caught[0].grad.abs().sum(dim=-1) > 0
    assert not reached[(layout.segment_ids == 0) | (layout.segment_ids == 2)].any()
    assert reached[layout.segment_ids == 1].any() and reached[layout.segment_ids < 0].all()


@pytest.mark.parametrize("form", ["mask", "grouped"])
def test_permuting_the_rows_permutes_the_log_probs(form):
    _, shared = padded_and_shared("qwen3", outputs=("log_probs",))
    shared.prompt_sharing.mode = form
    inputs = padded_batch([(9, [5, 3]), (4, [6, 2])])
    order = torch.tensor([3, 0, 2, 1])
    permuted = {name: tensor[order] for name, tensor in inputs.items()}
    assert torch.allclose(run(shared, permuted).log_probs, run(shared, inputs).log_probs[order], atol=1e-6)
    assert shared.prompt_sharing.layout.input_ids.numel() < inputs["input_ids"].numel()


def test_packed_rows_equal_rows_of_one_group():
    padded, shared = padded_and_shared("qwen3-sliding", outputs=("log_probs",))
    sharing = shared.prompt_sharing
    sharing.mode = "mask"
    inputs = padded_batch([(9, [5, 3]), (4, [6, 2]), (2, [3, 3]), (14, [2, 9])])
    expected = run(padded, inputs).log_probs
    rows = {}
    for budget in (1, 40, 1000):
        sharing.budget = budget
        assert (run(shared, inputs).log_probs - expected).abs().max() <= 1e-5
        rows[budget] = len(sharing.layout.input_ids)
    assert rows == {1: 4, 40: 2, 1000: 1}


def test_rows_of_one_layout_through_the_fused_head_equal_padded_rows():
    padded, _ = padded_and_shared("qwen3-sliding", outputs=("log_probs",))
    model = copy.deepcopy(padded)
    inputs = padded_batch([(9, [5, 3, 0]), (4, [6, 2, 1])])
    width, ids, mask = 9, inputs["input_ids"], inputs["attention_mask"]
    rows = build_rows(ids[::3, :width], mask[::3, :width], ids[:, width:], mask[:, width:], 3)
    assert rows.input_ids.shape == (2, width - 1 + 3 * (1 + 6))
    masks = {
        "full_attention": attention_mask(rows.segment_ids, rows.token_mask, rows.position_ids),
        "sliding_attention": attention_mask(rows.segment_ids, rows.token_mask, rows.position_ids, 6),
    }
    output = model(
        input_ids=rows.input_ids,
        attention_mask=masks,
        position_ids=rows.position_ids,
        labels=rows.labels,
        fused_lm_head=True,
    )
    scores = unpack(output.log_probs, width, 3) * mask[:, width:]
    assert (scores - run(padded, inputs).log_probs[:, width - 1 :]).abs().max() <= 1e-5


def test_block_mask_says_what_the_dense_mask_says():
    from alignkit.trainers.shared_prefix.masks import block_mask

    inputs = padded_batch([(9, [5, 3, 0]), (4, [6, 2, 1])])
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    rows = build_rows(ids[::3, :9], mask[::3, :9], ids[:, 9:], mask[:, 9:], 3)
    parts = (rows.segment_ids, rows.token_mask, rows.position_ids)
    length = rows.input_ids.shape[1]
    b, q, k = torch.meshgrid(torch.arange(2), torch.arange(length), torch.arange(length), indexing="ij")
    for window in (None, 4):
        assert torch.equal(block_mask(*parts, window).mask_mod(b, 0, q, k), attention_mask(*parts, window)[:, 0])


def test_a_batch_without_labels_and_a_pass_with_other_arguments_stay_as_they_are():
    padded, shared = padded_and_shared("qwen3", outputs=("log_probs",))
    inputs = padded_batch([(5, [0, 0])])
    assert torch.equal(run(shared, inputs).log_probs, run(padded, inputs).log_probs)
    inputs = padded_batch([(5, [3, 2])])
    positions = (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    own = run(shared, inputs, position_ids=positions)
    assert torch.equal(own.log_probs, run(padded, inputs, position_ids=positions).log_probs)
    assert shared.prompt_sharing.form == "off"
    logits = shared(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    assert torch.equal(logits, padded(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits)


def test_a_copy_of_the_model_runs_on_its_own_weights():
    _, shared = padded_and_shared("qwen3", outputs=("log_probs",))
    inputs = padded_batch([(5, [3, 2])])
    twin = copy.deepcopy(shared)
    with torch.no_grad():
        twin.lm_head.weight.mul_(2)
    assert not torch.allclose(run(twin, inputs).log_probs, run(shared, inputs).log_probs)


def test_generation_is_untouched():
    _, shared = padded_and_shared("qwen3-sliding", outputs=("log_probs",))
    plain = make_model("qwen3-sliding").eval()
    inputs = padded_batch([(9, [1, 1]), (4, [1, 1])])
    arguments = {name: inputs[name][:, :9] for name in ("input_ids", "attention_mask")}
    settings = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    assert torch.equal(shared.generate(**arguments, **settings), plain.generate(**arguments, **settings))


def test_autocast_and_gradient_checkpointing_give_the_same_gradients():
    _, shared = padded_and_shared("qwen3", outputs=("log_probs",))
    inputs = padded_batch(SHAPES["pairs"])
    for form in ("mask", "grouped"):
        shared.train()
        shared.prompt_sharing.mode = form
        expected, gradients = log_probs_and_gradients(shared, inputs)
        shared.gradient_checkpointing_enable()
        output, own = log_probs_and_gradients(shared, inputs)
        shared.gradient_checkpointing_disable()
        assert torch.equal(output.log_probs, expected.log_probs)
        assert all(torch.allclose(own[name], gradients[name], atol=1e-5) for name in gradients)
        with torch.autocast("cpu", torch.bfloat16):
            half, _ = log_probs_and_gradients(shared, inputs)
        assert (half.log_probs.float() - expected.log_probs).abs().max() < 0.3


def test_sharing_again_changes_only_mode_and_budget():
    _, shared = padded_and_shared("llama", outputs=("log_probs",))
    forward = shared.forward
    sharing = share_prompts(shared, "mask", 64)
    assert shared.forward == forward
    assert (sharing.mode, sharing.budget) == ("mask", 64)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen3", "gemma3"])
def test_flex_attention_gives_the_same_log_probs(kind, monkeypatch):
    """The forward pass only: FlexAttention has no backward pass on a CPU."""
    from alignkit.trainers.shared_prefix import forward

    padded, shared = padded_and_shared(kind, outputs=("log_probs",))
    monkeypatch.setattr(forward, "_uses_flex", lambda model, input_ids: True)
    shared.prompt_sharing.mode, shared.prompt_sharing.budget = "mask", 1000
    inputs = padded_batch([(9, [5, 3, 0]), (4, [6, 2, 1])])
    with torch.no_grad():
        own = run(shared, inputs).log_probs
    assert shared.prompt_sharing.layout.input_ids.shape == (1, 1024)
    assert (own - run(padded, inputs).log_probs).abs().max() <= 1e-5

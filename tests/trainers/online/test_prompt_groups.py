"""Rows of one prompt, brought together and kept together."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alignkit.trainers.online.prompt_groups import chunks, keep_groups_together, prompt_groups, whole_groups


def groups_of(sizes):
    rows = iter(range(sum(sizes)))
    return [[next(rows) for _ in range(size)] for size in sizes]


def test_rows_with_the_same_tokens_are_a_group_whatever_lies_between_them():
    ids = torch.tensor([[0, 5, 6], [7, 5, 6], [0, 5, 6], [7, 5, 6], [9, 5, 6]])
    mask = torch.tensor([[0, 1, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1], [0, 1, 1]])
    assert prompt_groups(ids, mask) == [[0, 2, 4], [1, 3]]  # row 4 differs at a masked place alone


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(1, 6))
def test_an_order_of_whole_groups_holds_every_row_once_and_cuts_no_group_that_fits(sizes, size):
    sizes += [1] * (-sum(sizes) % size)
    groups = groups_of(sizes)
    order = whole_groups(groups, size)
    assert sorted(order) == list(range(sum(sizes)))
    if len(set(sizes)) == 1 and size % sizes[0] == 0:
        batches = [set(order[start : start + size]) for start in range(0, len(order), size)]
        assert all(any(set(group) <= batch for batch in batches) for group in groups)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 6))
def test_a_forward_pass_has_no_more_rows_than_asked_for_and_cuts_only_larger_groups(sizes, size):
    groups = groups_of(sizes)
    passes = chunks(groups, size)
    assert [row for one in passes for part in one for row in part] == list(range(sum(sizes)))
    assert all(0 < sum(map(len, one)) <= size for one in passes)
    parts = [part for one in passes for part in one]
    assert all(group in parts for group in groups if len(group) <= size)


def batch_of(prompts):
    return {
        "prompt_ids": torch.tensor(prompts)[:, None],
        "prompt_mask": torch.ones(len(prompts), 1, dtype=torch.long),
        "advantages": torch.tensor(prompts) * 10.0,
        "names": [str(prompt) for prompt in prompts],
        "num_items_in_batch": torch.tensor(7),
        "images": None,
    }


def test_scattered_groups_come_together_with_all_that_belongs_to_their_rows():
    batches = keep_groups_together([batch_of([3, 1, 2, 1]), batch_of([2, 3, 1, 2])])
    # Prompts 3 and 1 find room for all their rows; the three rows of prompt 2 fill what is left.
    assert [batch["prompt_ids"].squeeze(1).tolist() for batch in batches] == [[3, 3, 2, 2], [1, 1, 1, 2]]
    for batch in batches:
        prompts = batch["prompt_ids"].squeeze(1).tolist()
        assert batch["advantages"].tolist() == [prompt * 10 for prompt in prompts]
        assert batch["names"] == [str(prompt) for prompt in prompts]
        assert batch["num_items_in_batch"] == 7 and batch["images"] is None


@pytest.mark.parametrize("count", [1, 3])
def test_whole_groups_stay_as_they_are(count):
    batches = [batch_of([2 * index, 2 * index, 2 * index + 1, 2 * index + 1]) for index in range(count)]
    for before, after in zip(batches, keep_groups_together(batches), strict=True):
        assert torch.equal(before["prompt_ids"], after["prompt_ids"]) and before["names"] == after["names"]

"""The form of a batch follows from its lengths, the rows from their order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_prefix_models import padded_batch

from alignkit.trainers.shared_prefix.choice import choose_form
from alignkit.trainers.shared_prefix.packing import fit, read_batch


def form_of(groups, mode="auto", on_cpu=True):
    return choose_form(read_batch(**padded_batch(groups)), mode, on_cpu)


@pytest.mark.parametrize("mode", ["mask", "grouped"])
def test_an_explicit_form_is_taken(mode):
    assert form_of([(4, [4])], mode) == mode


def test_padded_rows_are_kept_where_nothing_is_saved():
    assert form_of([(8, [4]), (8, [4])]) == "plain"


def test_padding_alone_is_worth_leaving_out():
    assert form_of([(8, [4]), (20, [9])]) == "grouped"


def test_an_accelerator_takes_the_mask_for_prompts_beyond_the_square_root_of_the_group():
    assert form_of([(9, [4, 4, 4, 4])], on_cpu=False) == "mask"
    assert form_of([(8, [4, 4, 4, 4])], on_cpu=False) == "grouped"
    assert form_of([(9, [4, 4, 4, 4])], on_cpu=True) == "grouped"


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.integers(1, 80))
def test_packing_keeps_everything_within_the_budget(lengths, budget):
    rows = fit(lengths, budget)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    for row in rows:
        assert len(row) == 1 or sum(lengths[index] for index in row) <= budget
    assert rows == fit(list(lengths), budget)


def test_rows_group_by_their_prompt_in_any_order():
    inputs = padded_batch([(5, [3, 2]), (7, [1, 4])])
    order = [0, 2, 1, 3]
    batch = read_batch(**{name: tensor[order] for name, tensor in inputs.items()})
    assert batch.groups == [[0, 2], [1, 3]]

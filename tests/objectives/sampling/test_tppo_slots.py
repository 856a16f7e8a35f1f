"""T-PPO's slots over many windows: nothing lost, nothing twice."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.sampling import check_tppo, tppo_advance, tppo_token_masks


seeds = st.integers(0, 10**6)
few = settings(max_examples=20, deadline=None)


class Run:
    """Windows of at most `window` tokens for `slots` slots, whose responses end at random."""

    def __init__(self, seed, slots=5, window=3, max_length=10, num_prompts=100, windows=40):
        generator = torch.Generator().manual_seed(seed)
        self.prompts, self.lengths, self.next_prompt = torch.arange(slots), torch.zeros(slots, dtype=torch.long), slots
        self.policy_counts, self.value_counts, self.finished_lengths, self.taken = {}, {}, {}, list(range(slots))
        for _ in range(windows):
            room = (max_length - self.lengths).clamp(max=window)
            ended = torch.rand(slots, generator=generator) < 0.2
            # A response that goes on fills its window.
            new = torch.where(ended, (torch.rand(slots, generator=generator) * room).long() + 1, room)
            total = self.lengths + new
            truncated = ~ended & (total < max_length)
            mask = torch.arange(max_length) < total[:, None]
            masks = tppo_token_masks(mask, self.lengths, truncated)
            for slot, prompt in enumerate(self.prompts.tolist()):
                for counts, table in ((self.policy_counts, masks.policy_mask), (self.value_counts, masks.value_mask)):
                    counts[prompt] = counts.get(prompt, torch.zeros(max_length, dtype=torch.long)) + table[slot]
            before, owners = self.next_prompt, self.prompts
            state = tppo_advance(self.prompts, self.lengths, new, ended, self.next_prompt, num_prompts, max_length)
            self.prompts, self.lengths, finished, self.next_prompt = state
            assert len(self.prompts) == slots and torch.equal(finished, ~truncated)
            assert torch.equal(self.lengths, torch.where(finished, 0, total))
            self.taken += [(before + offset) % num_prompts for offset in range(int(finished.sum()))]
            assert self.prompts[finished].tolist() == self.taken[len(self.taken) - int(finished.sum()) :]
            self.finished_lengths |= {int(owners[slot]): int(total[slot]) for slot in finished.nonzero()[:, 0]}


@given(seeds)
@few
def test_every_token_is_in_the_policy_mask_once_and_in_the_value_mask_once_when_finished(seed):
    run = Run(seed, num_prompts=10_000)
    assert run.finished_lengths
    for prompt, length in run.finished_lengths.items():
        once = (torch.arange(10) < length).long()
        assert torch.equal(run.policy_counts[prompt], once) and torch.equal(run.value_counts[prompt], once)
    for prompt in set(run.policy_counts) - set(run.finished_lengths):
        assert run.value_counts[prompt].sum() == 0 and run.policy_counts[prompt].max() == 1


@given(seeds, st.integers(5, 12))
@few
def test_prompts_are_taken_in_order_without_gaps_and_around_the_end(seed, num_prompts):
    run = Run(seed, num_prompts=num_prompts)
    assert run.taken == [index % num_prompts for index in range(len(run.taken))]
    assert run.next_prompt == len(run.taken) % num_prompts


def test_the_longest_length_ends_a_slot_in_any_case():
    state = tppo_advance([0, 1], [6, 5], [2, 2], [False, False], 2, 10, max_length=8)
    assert state.finished.tolist() == [True, False]
    assert state.slot_prompt.tolist() == [2, 1] and state.slot_length.tolist() == [0, 7] and state.next_prompt == 3


def test_a_window_as_long_as_the_completion_trains_both_networks_on_every_token():
    mask = torch.tensor([[1, 0, 1, 1], [1, 0, 0, 0]]).bool()
    masks = tppo_token_masks(mask, [0, 0], [False, False])
    assert torch.equal(masks.policy_mask, mask) and torch.equal(masks.value_mask, mask)


def test_truncated_rows_never_train_the_critic():
    masks = tppo_token_masks(torch.ones(2, 4), [1, 3], [True, True])
    assert not masks.value_mask.any() and masks.policy_mask.sum(dim=1).tolist() == [3, 1]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"window_start": [5, 0]}, r"`window_start` is 5 at index 0; valid range: \[0, 4\]"),
        ({"window_start": [0, -1]}, "`window_start` is -1 at index 1"),
        ({"window_start": [0]}, "`window_start` has shape"),
        ({"truncated": [True]}, "`truncated` has shape"),
        ({"completion_mask": [1, 1]}, "`completion_mask` has shape"),
    ],
)
def test_bad_masks_are_refused_by_name(changes, message):
    arguments = {"completion_mask": torch.ones(2, 4), "window_start": [0, 0], "truncated": [True, False]}
    with pytest.raises(ValueError, match=message):
        tppo_token_masks(**arguments | changes)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"new_tokens": [0, 1]}, "`new_tokens` is 0 at index 0"),
        ({"new_tokens": [1, 7]}, r"`new_tokens` is 7 at index 1; valid range: \[1, 6\]"),
        ({"slot_length": [8, 0]}, "`slot_length` is 8 at index 0"),
        ({"slot_prompt": [0, 4]}, "`slot_prompt` is 4 at index 1"),
        ({"slot_prompt": [[0, 1]]}, "`slot_prompt` has shape"),
        ({"ended": [True]}, "`ended` has shape"),
        ({"num_prompts": 0}, "`num_prompts` is 0"),
        ({"next_prompt": -1}, "`next_prompt` is -1"),
    ],
)
def test_bad_slots_are_refused_by_name(changes, message):
    arguments = {"slot_prompt": [0, 1], "slot_length": [0, 2], "new_tokens": [1, 1], "ended": [False, False]}
    with pytest.raises(ValueError, match=message):
        tppo_advance(**arguments | {"next_prompt": 2, "num_prompts": 4, "max_length": 8} | changes)


@pytest.mark.parametrize("arguments", [(0, 8), (9, 8), (1, 0), (4, 8, 0), (4, math.nan)])
def test_windows_that_do_not_fit_are_refused(arguments):
    check_tppo(8, 8, 1)
    with pytest.raises(ValueError, match="valid range"):
        check_tppo(*arguments)

"""The guard: a reward function that fails ends the run with one sentence, and nothing it leaves out is silent."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import user_rewards

from alignkit.errors import InputError
from alignkit.rewards import RewardError, guard_reward
from alignkit.rewards.deadline import DeadlinePassed, call_with_deadline


COMPLETIONS = ["one", "22", "three words here", "44"]


def call(function, completions=COMPLETIONS, deadline=5.0, **columns):
    return guard_reward(function, deadline=deadline)(completions=completions, **columns)


def returning(output):
    def fixed(completions, **columns):
        return output

    return fixed


@pytest.mark.parametrize(
    "output",
    [
        [1, 0.5, True, -2],
        (1, 0.5, True, -2),
        np.array([1, 0.5, 1, -2], dtype=np.float32),
        torch.tensor([1, 0.5, 1, -2]),
        [torch.tensor(1.0), np.float64(0.5), np.bool_(True), np.int64(-2)],
    ],
)
def test_numbers_of_any_kind_become_floats(output):
    rewards = call(returning(output))
    assert rewards == [1.0, 0.5, 1.0, -2.0] and all(type(reward) is float for reward in rewards)


def test_none_and_nan_are_not_scored_and_counted_in_the_log():
    guarded = guard_reward(returning([None, float("nan"), 1.0, None]))
    logged = {}
    assert guarded(completions=COMPLETIONS, log_metric=logged.__setitem__) == [None, None, 1.0, None]
    assert logged == {"rewards/fixed/none": 2.0, "rewards/fixed/nan": 1.0}
    guarded(completions=COMPLETIONS)
    assert guarded.counts == {"none": 4, "nan": 2}


@pytest.mark.parametrize(
    "output, found, row",
    [
        (None, r"returned None \(NoneType\); expected a list of 4 numbers", "'one'"),
        ("1234", r"returned '1234' \(str\)", "'one'"),
        (0.5, r"returned 0.5 \(float\)", "'one'"),
        ({"a": 1}, r"returned \{'a': 1\} \(dict\)", "'one'"),
        ([1.0, 2.0], "returned 2 rewards for 4 completions", "'three words here'"),
        ([1.0] * 8, "returned 8 rewards for 4 completions", "'one'"),
        ([1.0, "0.5", 1.0, 1.0], r"returned '0.5' \(str\) for completion 1 \(counted from 0\) of 4", "'22'"),
        ([1.0, 1.0, [1.0], 1.0], r"returned \[1.0\] \(list\) for completion 2", "'three words here'"),
        ([1.0, 1.0, 1.0, float("inf")], r"returned inf \(float\) for completion 3", "'44'"),
        (np.ones((4, 2)), "expected a list of 4 numbers", "'one'"),
    ],
)
def test_bad_output_names_the_function_and_the_first_offending_completion(output, found, row):
    with pytest.raises(RewardError, match=f"reward function fixed .*{found}.*ompletion.*: {row}"):
        call(returning(output))


def test_an_exception_names_function_place_and_the_completion_it_fails_on():
    with pytest.raises(RewardError) as caught:
        call(user_rewards.fails_on_digits)
    message = str(caught.value)
    assert "reward function fails_on_digits raised ZeroDivisionError: float division by zero" in message
    assert "user_rewards.py, line" in message
    assert "on completion 1 (counted from 0) of 4 completions. Completion 1 (counted from 0): '22'" in message
    assert isinstance(caught.value.__cause__, ZeroDivisionError) and isinstance(caught.value, InputError)


def test_an_exception_of_the_batch_as_a_whole_shows_the_first_completion():
    def needs_groups(completions, **columns):
        if len(completions) > 1:
            raise KeyError("group")
        return [1.0]

    with pytest.raises(RewardError, match="raised KeyError: 'group' .* on a batch of 4 .*The first completion: 'one'"):
        call(needs_groups)


def test_a_slow_function_is_not_called_again_for_the_sake_of_a_message(monkeypatch):
    monkeypatch.setattr("alignkit.rewards.guard.CHEAP_SECONDS", 0.0)
    calls = []

    def paid(completions, **columns):
        calls.append(len(completions))
        raise ValueError("no credit")

    with pytest.raises(RewardError, match="no credit"):
        call(paid)
    assert calls == [4]


def test_the_search_for_the_failing_row_passes_that_row_and_logs_nothing():
    logged, seen = [], []

    def picky(completions, answer, log_metric, note):
        log_metric("calls", 1.0)
        seen.append((tuple(completions), tuple(answer), note))
        if "44" in completions:
            raise ValueError("44")
        return [0.0] * len(completions)

    with pytest.raises(RewardError, match="completion 3"):
        call(picky, answer=[1, 2, 3, 4], note="x", log_metric=lambda *values: logged.append(values))
    assert len(logged) == 1 and seen[-1] == (("44",), (4,), "x")


def test_a_missing_column_is_named_and_arguments_the_function_does_not_take_are_left_out():
    with pytest.raises(RewardError, match="wants_reference reads the column 'reference'.*columns are answer, level"):
        call(user_rewards.wants_reference, level=[1], answer=["a"], trainer_state=None, prompts=["?"])
    assert call(user_rewards.word_count, trainer_state=None, prompts=["?"] * 4) == [1.0, 1.0, 3.0, 1.0]


@pytest.mark.parametrize("name", ["loops", "sleeps", "backtracks", "swallows"])
def test_a_hang_is_cut_by_its_deadline(name):
    handler, start = signal.getsignal(signal.SIGALRM), time.monotonic()
    with pytest.raises(RewardError) as caught:
        call(getattr(user_rewards, name), deadline=0.2)
    assert time.monotonic() - start < 3
    assert f"reward function {name} has not returned after 0.2 s on 4 completions" in str(caught.value)
    assert "The first completion: 'one'" in str(caught.value)
    assert signal.getsignal(signal.SIGALRM) == handler and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_hang_outside_the_main_thread_is_cut_and_its_loop_ended():
    caught = []

    def run():
        try:
            call(user_rewards.loops, deadline=0.2)
        except RewardError as error:
            caught.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert caught and "has not returned after 0.2 s" in caught[0]
    end = time.monotonic() + 5
    while any(other.name == "deadline" for other in threading.enumerate()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(other.name == "deadline" for other in threading.enumerate())


def test_another_alarm_keeps_running_behind_a_guarded_call():
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 100)
        assert call_with_deadline(lambda: 7, 5) == 7
        with pytest.raises(DeadlinePassed):
            call_with_deadline(lambda: time.sleep(5), 0.1)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 90
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_what_listens_to_nothing_ends_with_the_process_and_says_where_it_hangs():
    program = (
        "import alignkit.rewards.deadline as deadline\n"
        "deadline.GRACE = 0.3\n"
        "import alignkit.rewards.guard as guard, user_rewards\n"
        "guard.guard_reward(user_rewards.holds_the_lock, deadline=0.2)(completions=['a'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=Path(__file__).parent
    )
    assert done.returncode == 1 and "Timeout" in done.stderr and "in holds_the_lock" in done.stderr


def test_coroutines_stay_coroutines_and_keep_their_guard():
    guarded = guard_reward(user_rewards.patient, deadline=5)
    from trl.trainer.utils import get_callable_name, is_async_callable

    assert is_async_callable(guarded) and get_callable_name(guarded) == "patient"
    assert asyncio.run(guarded(completions=COMPLETIONS, answer=[0])) == [3.0, 2.0, 16.0, 2.0]
    with pytest.raises(RewardError, match=r"asleep has not returned after 0.1 s on 4 completions.*'one'"):
        asyncio.run(guard_reward(user_rewards.asleep, deadline=0.1)(completions=COMPLETIONS))
    assert not is_async_callable(guard_reward(user_rewards.word_count))


@pytest.mark.parametrize("deadline", [0, -1, float("inf"), float("nan")])
def test_a_deadline_must_be_positive(deadline):
    with pytest.raises(InputError, match="it must be positive"):
        guard_reward(user_rewards.loops, deadline=deadline)

"""Grading: right answers are right, and no answer whatever hangs or kills a run."""

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pathological import GOLD, pathological_answers

from alignkit.errors import InputError
from alignkit.rewards import Grade, GradingPool, MathAccuracyReward
from alignkit.rewards.grading import GRACE
from alignkit.rewards.grading_worker import WALL_FACTOR
from alignkit.rewards.math_check import MAX_CHARS, check, longest_digit_run, nesting_depth


HANG = "\\boxed{9^{9^{9^{9}}}}"
DATA = os.environ.get("ALIGNKIT_EVAL_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="ALIGNKIT_EVAL_DATA names no folder with the official data")


@pytest.fixture(scope="module")
def pool():
    with GradingPool(num_workers=2, deadline=20) as pool:
        yield pool


@pytest.mark.parametrize(
    ("gold", "completion", "correct"),
    [
        ("5", "so it is \\boxed{5}", True),
        ("5", "\\boxed{4} or \\boxed{5}", False),
        ("5", f"\\boxed{{4}}\n\n{'Wait, that is wrong. ' * 4}\n\n\\boxed{{5}}", True),
        ("5", "the answer is 5", True),
        ("5", "\\boxed{6}", False),
        ("\\frac{1}{2}", "$0.5$", True),
        ("\\frac{1}{3}", "\\boxed{0.3333}", False),
        ("\\frac{1}{3}", "\\boxed{0.333333}", True),
        ("0.5", "\\boxed{50\\%}", True),
        ("204", "\\boxed{0204}", True),
        ("x=5", "\\boxed{5}", True),
        ("5", "\\boxed{x=5}", True),
        ("1,2", "\\boxed{2,1}", True),
        ("10", "\\boxed{10\\text{ cm}}", True),
        ("9.6", "\\boxed{9.59}", False),
        ("(3,\\frac{\\pi}{2})", "\\boxed{\\left(3, \\frac{\\pi}{2}\\right)}", True),
    ],
)
def test_verdicts(pool, gold, completion, correct):
    grade = pool.grade([(gold, completion)])[0]
    assert (grade.correct, grade.status) == (correct, "ok")


def test_pool_agrees_with_math_verify_called_directly(pool):
    from math_verify import parse, verify
    from math_verify.parser import ExprExtractionConfig, LatexExtractionConfig

    targets = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    golds = ["0", "7", "-3", "1/2", "\\sqrt{2}", "10"]
    completions = [f"I get \\boxed{{{gold}}}." for gold in golds] + ["7", "= 10", "it is $\\frac{2}{4}$", "-3.0"]
    pairs = [(gold, completion) for gold in golds for completion in completions]
    expected = [verify(parse(f"${gold}$"), parse(completion, targets)) for gold, completion in pairs]
    assert [grade.correct for grade in pool.grade(pairs)] == expected
    assert any(expected) and not all(expected)


def test_order_of_grades_is_the_order_of_pairs(pool):
    pairs = [("5", f"\\boxed{{{5 if i % 3 else 6}}}") for i in range(200)]
    assert [grade.correct for grade in pool.grade(pairs)] == [bool(i % 3) for i in range(200)]


def test_statuses_of_what_cannot_be_compared(pool):
    statuses = [grade.status for grade in pool.grade([("5", "I do not know"), ("5", "(" * 500), ("5", "1" * 500)])]
    assert statuses == ["unparsable", "too_complex", "too_complex"]
    assert pool.grade([("", "\\boxed{5}")])[0].status == "bad_gold"


def test_long_completion_is_read_from_its_end(pool):
    text = "I think. " * 100_000
    assert pool.grade([("5", f"{text}\\boxed{{5}}"), ("5", f"\\boxed{{5}} {'I think. ' * MAX_CHARS}")]) == [
        Grade(True, "ok", "5"),
        Grade(False, "unparsable"),
    ]


def test_tolerance_accepts_close_numbers_only_where_it_is_asked_for():
    assert check("9.6", "\\boxed{9.59}", None)[0] is False
    assert check("9.6", "\\boxed{9.59}", 0.01)[0] is True
    assert check("9.6", "\\boxed{9.3}", 0.01)[0] is False
    assert check("x=9.6", "\\boxed{9.59}", 0.01)[0] is True
    assert check("y", "\\boxed{x}", 0.01)[0] is False


def test_bounds_are_measured_exactly():
    assert [nesting_depth(text) for text in ("", "()[]", "([{}])", ")))(", "(((")] == [0, 1, 3, 1, 3]
    assert [longest_digit_run(text) for text in ("", "1a22b", "123")] == [0, 2, 3]


def test_hanging_item_costs_its_deadline_and_the_pool_survives():
    with GradingPool(num_workers=1, deadline=1) as pool:
        pool.grade([("1", "1")])
        start = time.monotonic()
        grades = pool.grade([("1", HANG), ("5", "\\boxed{5}"), ("1", HANG), ("5", "\\boxed{5}")])
        assert [grade.status for grade in grades] == ["timeout", "ok", "timeout", "ok"]
        assert [grade.correct for grade in grades] == [False, True, False, True]
        # On an idle machine 2 s and the replacement of two workers; on a busy one the clock's limit is what is promised.
        assert time.monotonic() - start < 2 * (WALL_FACTOR + GRACE) + 60


def test_dead_worker_is_replaced_and_its_item_is_a_crash():
    with GradingPool(num_workers=1, deadline=20) as pool:
        pool.grade([("1", "1")])
        process = pool._workers[0].process
        assert process is not None
        timer = threading.Timer(0.5, process.kill)
        timer.start()
        grades = pool.grade([("1", HANG), ("5", "\\boxed{5}")])
        assert [grade.status for grade in grades] == ["crash", "ok"]


def test_pool_works_from_threads():
    results: dict[int, list[Grade]] = {}
    with GradingPool(num_workers=2, deadline=20) as pool:

        def grade(place):
            results[place] = pool.grade([("5", f"\\boxed{{{place}}}")] * 5)

        threads = [threading.Thread(target=grade, args=(place,)) for place in (4, 5, 6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    assert {place: grades[0].correct for place, grades in results.items()} == {4: False, 5: True, 6: False}


def test_closed_pool_has_no_processes_and_can_be_used_again():
    pool = GradingPool(num_workers=2, deadline=20)
    pool.grade([("1", "1")] * 4)
    processes = [worker.process for worker in pool._workers if worker.process is not None]
    pool.close()
    assert processes and all(process.poll() is not None for process in processes)
    assert pool.grade([("1", "1")])[0].correct
    pool.close()


def test_forked_child_starts_workers_of_its_own():
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this platform")
    code = (
        "import os, sys\n"
        "from alignkit.rewards import GradingPool\n"
        "pool = GradingPool(1, deadline=20)\n"
        "assert pool.grade([('1', '1')])[0].correct\n"
        "child = os.fork()\n"
        "right = [grade.correct for grade in pool.grade([('1', '1'), ('1', '2')] * 20)] == [True, False] * 20\n"
        "if child == 0: os._exit(0 if right else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or not right)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_worker_of_a_killed_caller_ends_even_in_the_middle_of_a_hanging_item():
    if not hasattr(os, "fork"):
        pytest.skip("no such timer on this platform")
    code = (
        "from alignkit.rewards import GradingPool\n"
        "pool = GradingPool(1, deadline=1)\n"
        "pool.grade([('1', '1')])\n"
        "print(pool._workers[0].process.pid, flush=True)\n"
        f"pool.grade([('1', {HANG!r})])\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    worker = int(caller.stdout.readline())
    time.sleep(0.5)
    caller.kill()
    caller.wait()
    deadline = time.monotonic() + WALL_FACTOR + 10
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(worker)


def is_running(pid: int) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").is_dir() else not os.kill(pid, 0)
        )
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_worker_imports_no_torch_and_not_the_callers_main(tmp_path):
    script = tmp_path / "script.py"  # no `if __name__ == "__main__"`: importing it again would start a pool again
    script.write_text(
        "import torch\n"
        "from alignkit.rewards import GradingPool\n"
        "pool = GradingPool(1, deadline=20)\n"
        "pool.grade([('1', '1')])\n"
        "pid = pool._workers[0].process.pid\n"
        "maps = open(f'/proc/{pid}/maps').read() if __import__('os').path.isdir('/proc') else ''\n"
        "assert 'libtorch' not in maps\n"
    )
    assert subprocess.run([sys.executable, str(script)], timeout=100, cwd=tmp_path).returncode == 0


def test_some_pathological_answers_neither_hang_nor_crash_nor_count_as_right():
    answers = pathological_answers()
    with GradingPool(num_workers=2, deadline=0.5) as pool:
        grades = pool.grade([(GOLD, answer) for answer in answers[::16]])
        assert not any(grade.correct for grade in grades)
        assert {"timeout", "too_complex"} <= {grade.status for grade in grades}
        assert pool.grade([(GOLD, "\\boxed{7}")])[0].correct


@pytest.mark.slow
def test_no_pathological_answer_hangs_crashes_or_counts_as_right():
    answers = pathological_answers()
    assert len(answers) >= 200
    with GradingPool(num_workers=2, deadline=2) as pool:
        start = time.monotonic()
        grades = pool.grade([(GOLD, answer) for answer in answers])
        assert time.monotonic() - start < len(answers) * 3
        right = [answer[:60] for answer, grade in zip(answers, grades, strict=True) if grade.correct]
        assert right == []
        assert not any(grade.status == "bad_gold" for grade in grades)
        assert all(grade.correct for grade in pool.grade([(GOLD, "\\boxed{7}")] * 20))


def test_reward_function_gives_one_reward_per_completion_and_counts_statuses(pool):
    reward = MathAccuracyReward(pool)
    chats = [[{"role": "assistant", "content": text}] for text in ("\\boxed{5}", "\\boxed{6}", "no idea")]
    assert reward(completions=chats, answer=["5", "5", "5"], prompts=["", "", ""]) == [1.0, 0.0, 0.0]
    assert reward(completions=["\\boxed{5}", "5"], answer=[5, ""]) == [1.0, None]
    assert reward.counts == {"ok": 3, "unparsable": 1, "bad_gold": 1}
    with pytest.raises(InputError, match="column 'answer'"):
        reward(completions=chats, gold=["5"] * 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_workers": 0}, "num_workers is 0"),
        ({"deadline": 0}, "deadline is 0"),
        ({"tolerance": 1.5}, "tolerance is 1.5"),
    ],
)
def test_pool_refuses_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        GradingPool(**arguments)


def read_official(name: str) -> list[dict]:
    with gzip.open(Path(DATA or "") / "math" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@needs_data
@pytest.mark.parametrize(
    ("name", "accuracy"), [("gsm8k_graded_6b_finetuning", 21.68), ("gsm8k_graded_175b_verification", 56.25)]
)
def test_grades_agree_with_openais_on_gsm8k(pool, name, accuracy):
    golds = [row["answer"].rpartition("####")[2].strip().replace(",", "") for row in read_official("gsm8k_test")]
    rows = read_official(name)
    grades = [grade.correct for grade in pool.grade([(golds[row["row"]], row["solution"]) for row in rows])]
    assert grades == [row["is_correct"] for row in rows]
    assert 100 * sum(grades) / len(grades) == pytest.approx(accuracy, abs=0.01)


@needs_data
def test_grades_agree_with_qwens_on_math(pool):
    rows = read_official("math100_8samples_graded")
    pairs = [(row["gold"], text) for row in rows for text in row["responses"]]
    grades = [grade.correct for grade in pool.grade(pairs)]
    theirs = [verdict for row in rows for verdict in row["is_correct"]]
    differing = [place for place, (own, other) in enumerate(zip(grades, theirs, strict=True)) if own != other]
    assert len(differing) <= 1 and all(grades[place] for place in differing)

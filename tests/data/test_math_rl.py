"""The builder of verifiable maths problems, on a few rows of the shape that each public set has on the Hub."""

import json

import pytest

from alignkit.rewards import GradingPool


GSM8K = [
    {
        "question": "Natalia sold 48 clips in April, and half as many in May. How many clips in all did she sell then?",
        "answer": "In May she sold 48/2 = <<48/2=24>>24 clips.\nIn all 48+24 = <<48+24=72>>72 clips.\n#### 72",
    },
    {"question": "A car costs 1000 dollars more than 500 dollars. What?", "answer": "It costs 1500.\n#### 1,500"},
    {"question": "No answer?", "answer": "None."},
]
MATH = [
    {
        "problem": "What is $\\frac14+\\frac14$?",
        "level": "Level 2",
        "type": "Algebra",
        "solution": "We add: $\\frac14+\\frac14=\\boxed{\\frac{1}{2}}$.",
    },
    {"problem": "Find $x$ in $x=3$.", "level": "Level ?", "type": "Algebra", "solution": "$\\boxed{3}$."},
    {"problem": "Find $x$ in $x=3$.", "level": "Level 1", "type": "Algebra", "solution": "Clearly $\\boxed{3}$."},
    {"problem": "Prove it.", "level": "Level 5", "type": "Geometry", "solution": "Done."},
]
DEEPMATH = [
    {
        "question": "Evaluate the limit: \\[ \\lim_{x \\to 0} \\frac{\\sin x}{x} \\]",
        "final_answer": "1",
        "difficulty": 4.5,
        "topic": "Mathematics -> Calculus -> Limits",
        **{f"r1_solution_{number}": f"Okay, way {number}. **Final Answer**\n\\boxed{{1}}" for number in (1, 2, 3)},
    }
]
WRAPPED = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\nIn triangle $ABC$,\n\nfind $p+q$.\n\n"
    'Remember to put your answer on its own line after "Answer:".'
)
DAPO = {
    "data_source": "math_dapo",
    "prompt": [{"content": WRAPPED, "role": "user"}],
    "ability": "MATH",
    "reward_model": {"ground_truth": "34", "style": "rule-lighteval/MATH_v2"},
    "extra_info": {"index": "9a9b6eb4-a1cb-49d1-8c1e-62eaf2f74079"},
}


def content(row):
    (message,) = row["prompt"]
    assert message["role"] == "user"
    return message["content"]


def test_gsm8k_keeps_the_working_without_the_calculators_marks(build):
    rows = build("math_rl", GSM8K)
    assert [row["answer"] for row in rows] == ["72", "1500"]
    assert rows[0]["solution"] == "In May she sold 48/2 = 24 clips.\nIn all 48+24 = 72 clips."
    assert [row["difficulty"] for row in rows] == [2.0, 1.0]
    assert content(rows[0]).startswith(GSM8K[0]["question"]) and "\\boxed{}" in content(rows[0])


def test_math_takes_the_box_and_the_level_and_leaves_out_what_has_none(build, caplog):
    rows = build("math_rl", MATH, "--source", "math", "--protocol", "bare")
    assert [(content(row), row["answer"], row["difficulty"]) for row in rows] == [
        (MATH[0]["problem"], "\\frac{1}{2}", 2.0),
        (MATH[1]["problem"], "3", None),
    ]
    assert rows[0]["solution"] == MATH[0]["solution"]


def test_deepmath_takes_answer_rating_and_first_solution(build):
    (row,) = build("math_rl", DEEPMATH, "--source", "deepmath")
    assert (row["answer"], row["difficulty"]) == ("1", 4.5) and row["solution"].startswith("Okay, way 1.")


@pytest.mark.parametrize("prompt", [DAPO["prompt"], WRAPPED, "In triangle $ABC$,\n\nfind $p+q$."])
def test_dapo_is_unwrapped_and_its_copies_left_out(build, prompt):
    rows = build("math_rl", [{**DAPO, "prompt": prompt}] * 3, "--source", "dapo", "--protocol", "bare")
    assert rows == [
        {
            "prompt": [{"role": "user", "content": "In triangle $ABC$,\n\nfind $p+q$."}],
            "answer": "34",
            "solution": None,
            "difficulty": None,
        }
    ]


def test_answers_are_read_by_math_verify(build):
    rows = build("math_rl", GSM8K) + build("math_rl", MATH, "--source", "math")
    with GradingPool(num_workers=1) as pool:
        grades = pool.grade([(row["answer"], f"\\boxed{{{row['answer']}}}") for row in rows])
    assert all(grade.correct for grade in grades) and len(grades) == 4


@pytest.fixture
def suites(tmp_path, monkeypatch):
    """A folder with two evaluation suites: the second question of GSM8K above is in one, nearly in the other."""
    folder = tmp_path / "official"
    folder.mkdir()
    import gzip

    changed = GSM8K[0]["question"].replace("Natalia", "Anna")
    files = {
        "gsm8k_test.jsonl.gz": [{"question": GSM8K[1]["question"].upper(), "answer": "#### 1500"}],
        "math500.jsonl.gz": [{"problem": changed, "answer": "72", "level": 1, "subject": "Algebra"}],
    }
    for name, rows in files.items():
        (folder / name).write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    monkeypatch.setenv("ALIGNKIT_EVAL_DATA", str(folder))


EXTRA = [{"question": "What is a question of its own, found nowhere else at all?", "answer": "It is 5.\n#### 5"}]


def test_decontamination_names_the_rows_and_keeps_them_unless_told(build, suites, tmp_path):
    rows = build("math_rl", GSM8K[:2] + EXTRA, "--decontaminate", "gsm8k,math500")
    assert len(rows) == 3
    report = json.loads((tmp_path / "math_rl_built.jsonl.decontamination.json").read_text())
    assert (report["rows"], report["contaminated_rows"], report["dropped"]) == (3, 2, False)
    assert report["suites"]["gsm8k"] == {"items": 1, "exact": 1, "ngram": 0, "items_found": 1}
    assert report["suites"]["math500"] == {"items": 1, "exact": 0, "ngram": 1, "items_found": 1}
    near, same = report["found"]
    assert (near["row"], near["matches"][0]["item"], near["question"]) == (0, "0", GSM8K[0]["question"])
    assert 0.5 < near["matches"][0]["overlap"] < 1 and "sold 48 clips in april" in near["matches"][0]["shared"]
    assert (same["row"], same["matches"][0]["kind"]) == (1, "exact")
    summary = (tmp_path / "math_rl_built.jsonl.decontamination.md").read_text()
    assert "2 of 3 rows stand in an evaluation suite; they were kept" in summary
    assert "| gsm8k | 1 | 1 | 0 | 1 |" in summary and "- row 0, item 0 (ngram, " in summary


def test_drop_leaves_the_found_rows_out(build, suites, tmp_path):
    report = tmp_path / "said.json"
    arguments = ("--decontaminate", "gsm8k, math500", "--drop", "--report", str(report))
    assert [row["answer"] for row in build("math_rl", GSM8K[:2] + EXTRA, *arguments)] == ["5"]
    assert json.loads(report.read_text())["dropped"] and "were left out" in report.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--out", "a.jsonl", "--drop"], "--drop leaves out what --decontaminate finds"),
        (["--out", "a.jsonl", "--decontaminate", "gsm9k"], "there is no suite 'gsm9k': did you mean gsm8k"),
        (["--out", "a.jsonl", "--decontaminate", ","], "name suites of mathematics"),
        (["--push", "me/x", "--decontaminate", "gsm8k"], "say where the report goes"),
        (["--out", "a.jsonl", "--decontaminate", "gsm8k", "--report", "a.txt"], "--report is a.txt; give a .json"),
        (["--out", "a.jsonl", "--decontaminate", "gsm8k", "--ngram", "0"], "n is 0"),
        (["--out", "a.jsonl", "--decontaminate", "gsm8k", "--min-overlap", "0"], "min_overlap is 0.0"),
        (["--out", "a.jsonl", "--source", "math"], "row 0 .* has no field 'level'|has no field 'solution'"),
    ],
)
def test_bad_calls_are_refused_in_one_sentence(
    builder, write_jsonl, suites, tmp_path, monkeypatch, capsys, arguments, message
):
    import re

    monkeypatch.chdir(tmp_path)
    assert builder("math_rl").main(["--dataset", write_jsonl(GSM8K, "in.jsonl"), *arguments]) == 2
    assert re.search(message, capsys.readouterr().err.splitlines()[-1])
    assert not (tmp_path / "a.jsonl").exists()


def test_the_hub_is_asked_for_the_sources_set_and_configuration(builder, tmp_path, monkeypatch):
    asked = []
    module = builder("math_rl")
    import building

    def read_rows(name, split, revision, data_dir, config_name, streaming):
        asked.append((name, split, config_name, streaming))
        return iter({"gsm8k": GSM8K, "MATH-lighteval": MATH}.get(name.split("/")[1], []))

    monkeypatch.setattr(building, "read_rows", read_rows)
    for source in ("gsm8k", "math"):
        out = str(tmp_path / f"{source}.jsonl")
        assert module.main(["--source", source, "--out", out, "--streaming", "--limit", "1"]) == 0
    module.main(["--source", "dapo", "--out", str(tmp_path / "dapo.jsonl")])
    module.main(
        ["--source", "dapo", "--dataset", "BytedTsinghua-SIA/DAPO-Math-17k", "--out", str(tmp_path / "d.jsonl")]
    )
    assert asked == [
        ("openai/gsm8k", "train", "main", True),
        ("DigitalLearningGmbH/MATH-lighteval", "train", None, True),
        ("open-r1/DAPO-Math-17k-Processed", "train", "all", False),
        ("BytedTsinghua-SIA/DAPO-Math-17k", "train", None, False),
    ]

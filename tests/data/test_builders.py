"""The builders of public data sets, each on a few rows of the shape that they have on the Hub."""

import re

import pytest

from alignkit.data import column_specs, load, validate_rows


def completion(text: str, *ratings: str) -> dict:
    """A completion of UltraFeedback; the ratings of the four aspects are texts, sometimes "N/A"."""
    aspects = ("instruction_following", "truthfulness", "honesty", "helpfulness")
    annotations = {
        aspect: {"Rating": rating, "Rationale": "Because."} for aspect, rating in zip(aspects, ratings, strict=True)
    }
    annotations["helpfulness"]["Type"] = ["1"]
    return {
        "annotations": annotations,
        "custom_system_prompt": "Be good.",
        "model": "alpaca-7b",
        "principle": "helpfulness",
        "response": text,
        "critique": "Fine.",
        "overall_score": 7.5,
        "fine-grained_score": 4.0,
    }


def ultrafeedback_row(*completions: dict, source: str = "sharegpt") -> dict:
    return {
        "source": source,
        "instruction": "Name a colour.",
        "models": ["alpaca-7b"],
        "completions": list(completions),
        "correct_answers": ["None"],
        "incorrect_answers": ["None"],
    }


ULTRAFEEDBACK = [
    ultrafeedback_row(
        completion("Red.", "5", "5", "4", "4"),
        completion("No.", "1", "2", "2", "1"),
        completion("Blue.", "4", "4", "4", "5"),
        completion("Best of all.", "5", "N/A", "5", "5"),
    ),
    ultrafeedback_row(completion("A", "3", "3", "3", "3"), completion("B", "3", "3", "3", "3")),
    ultrafeedback_row(completion("A", "5", "5", "5", "5"), completion("B", "1", "1", "1", "1"), source="truthful_qa"),
]


def test_ultrafeedback_pairs_best_with_worst_by_the_mean_of_the_aspects(build):
    rows = build("ultrafeedback", ULTRAFEEDBACK, "--exclude-source", "truthful_qa")
    assert len(rows) == 1
    (row,) = rows
    assert row["prompt"] == [{"role": "user", "content": "Name a colour."}]
    assert row["chosen"] == [{"role": "assistant", "content": "Red."}]
    assert row["rejected"] == [{"role": "assistant", "content": "No."}]
    assert (row["chosen_reward"], row["rejected_reward"], row["reward_margin"]) == (4.5, 1.5, 3.0)
    assert (row["chosen_honesty"], row["rejected_helpfulness"]) == (4.0, 1.0)
    assert "chosen_margin_rewards" not in row


def test_ultrafeedback_objectives_rank_by_the_first_and_make_margin_rewards_of_the_others(build):
    row = build("ultrafeedback", ULTRAFEEDBACK, "--objectives", "helpfulness", "honesty", "truthfulness")[0]
    assert row["chosen"][0]["content"] == "Blue." and row["rejected"][0]["content"] == "No."
    assert row["chosen_margin_rewards"] == [4.0, 4.0] and row["rejected_margin_rewards"] == [2.0, 2.0]
    assert row["reward_margin"] == 4.0


def test_ultrafeedback_random_loser_is_the_same_whatever_stands_before_it(build):
    last = build("ultrafeedback", ULTRAFEEDBACK[::-1], "--rejected", "random")[-1]
    assert last == build("ultrafeedback", ULTRAFEEDBACK[:1], "--rejected", "random")[0]


def test_ultrafeedback_prompts_alone_for_the_loops(build):
    rows = build("ultrafeedback", ULTRAFEEDBACK, "--prompts", "--limit", "2")
    assert rows == [{"prompt": [{"role": "user", "content": "Name a colour."}]}] * 2


def test_hh_dialogue_becomes_a_conversational_pair_and_broken_ones_are_left_out(build):
    start = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: What is Human: in\n\ntwo parts?\n\nAssistant:"
    rows = build(
        "hh_rlhf",
        [
            {"chosen": f"{start} A label.", "rejected": f"{start} No idea."},
            {"chosen": f"{start} Same.", "rejected": f"{start} Same."},
            {"chosen": f"{start} Fine.", "rejected": f"{start} "},
            {"chosen": "\n\nHuman: A\n\nAssistant: B", "rejected": "\n\nHuman: C\n\nAssistant: D"},
            {"chosen": "\n\nHuman: A\n\nHuman: B\n\nAssistant: C", "rejected": "\n\nHuman: A\n\nAssistant: D"},
        ],
    )
    assert rows == [
        {
            "prompt": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello."},
                {"role": "user", "content": "What is Human: in\n\ntwo parts?"},
            ],
            "chosen": [{"role": "assistant", "content": "A label."}],
            "rejected": [{"role": "assistant", "content": "No idea."}],
        }
    ]


PKU = {
    "prompt": "How do I open a lock?",
    "response_0": "With a pick, like this.",
    "response_1": "Call a locksmith.",
    "prompt_source": "Alpaca3-70B",
    "response_0_source": "Alpaca3-8B",
    "response_1_source": "WizardLM-30B-Uncensored",
    "is_response_0_safe": False,
    "is_response_1_safe": True,
    "response_0_severity_level": 2,
    "response_1_severity_level": 0,
    "better_response_id": 0,
    "safer_response_id": 1,
}


def test_pku_pairs_follow_the_objective_and_the_other_one_is_the_margin(build):
    helpful, safe = build("pku_saferlhf", [PKU]), build("pku_saferlhf", [PKU], "--objective", "safety")
    assert helpful[0]["chosen"][0]["content"] == PKU["response_0"]
    assert helpful[0]["chosen_margin_rewards"] == [-2.0] and helpful[0]["rejected_margin_rewards"] == [0.0]
    assert safe[0]["chosen"][0]["content"] == PKU["response_1"]
    assert safe[0]["chosen_margin_rewards"] == [0.0] and safe[0]["rejected_margin_rewards"] == [1.0]
    assert safe[0]["chosen_safety"] == 0.0 and safe[0]["rejected_safety"] == -2.0


def test_pku_without_severity_levels_takes_the_safe_flag(build):
    old = {name: value for name, value in PKU.items() if "severity" not in name}
    assert build("pku_saferlhf", [old])[0]["chosen_margin_rewards"] == [-1.0]


def test_beavertails_pairs_safe_with_unsafe_of_one_prompt_and_drops_disputed_responses(build):
    def row(prompt, response, is_safe):
        return {"prompt": prompt, "response": response, "category": {"violence": not is_safe}, "is_safe": is_safe}

    rows = build(
        "beavertails",
        [
            row("A", "bad", False),
            row("B", "fine", True),
            row("A", "both", True),
            row("A", "good", True),
            row("A", "both", False),
        ],
    )
    assert [(item["chosen"][0]["content"], item["rejected"][0]["content"]) for item in rows] == [("good", "bad")]
    assert (rows[0]["chosen_safety"], rows[0]["rejected_safety"]) == (1.0, 0.0)


OPENAI = {
    "info": {"id": "t3_1", "post": "My cat left.", "title": "Cat", "subreddit": "pets", "site": None, "article": None},
    "summaries": [
        {"text": " Cat gone.", "policy": "ref", "note": None},
        {"text": " A long story about a cat.", "policy": "sup2", "note": None},
    ],
    "choice": 1,
    "worker": "w",
    "batch": "batch3",
    "split": "train",
    "extra": {"confidence": 7},
}


def test_tldr_comparison_becomes_prompt_and_pair(build):
    (row,) = build("tldr", [OPENAI])
    assert row["prompt"][0]["content"] == "SUBREDDIT: r/pets\n\nTITLE: Cat\n\nPOST: My cat left.\n\nTL;DR:"
    assert row["chosen"] == [{"role": "assistant", "content": "A long story about a cat."}]
    assert row["confidence"] == 7.0


def test_tldr_preference_rows_and_plain_text(build):
    public = {"prompt": "POST: x\n\nTL;DR:", "chosen": " good", "rejected": " bad"}
    assert build("tldr", [public], "--text") == [public]
    assert build("tldr", [public])[0]["rejected"] == [{"role": "assistant", "content": "bad"}]


def test_result_is_loadable_by_name_and_valid_for_its_methods(build, tmp_path):
    build("pku_saferlhf", [PKU])
    dataset = load(str(tmp_path / "pku_saferlhf_built.jsonl"), split="train")
    specs = column_specs(("prompt", "chosen", "rejected", "chosen_margin_rewards", "rejected_margin_rewards"))
    assert validate_rows(dataset, specs) == 1


def test_result_is_pushed_as_a_private_set_and_the_streamed_source_gives_the_same(
    build, builder, write_jsonl, monkeypatch
):
    import datasets

    pushed = {}
    monkeypatch.setattr(
        datasets.Dataset,
        "push_to_hub",
        lambda self, name, private: pushed.update({"name": name, "private": private, "rows": list(self)}),
    )
    source = write_jsonl([PKU], "again.jsonl")
    assert builder("pku_saferlhf").main(["--dataset", source, "--push", "me/pairs", "--streaming"]) == 0
    assert pushed == {"name": "me/pairs", "private": True, "rows": build("pku_saferlhf", [PKU])}


@pytest.mark.parametrize(
    "rows, arguments, message",
    [
        ([PKU], [], "say where the result goes"),
        ([PKU], ["--out", "pairs.jsonl", "--limit", "0"], "--limit is 0; give at least 1"),
        ([PKU], ["--out", "pairs.txt"], "ends in .txt"),
        ([PKU], ["--out", "pairs.jsonl", "--split", "test"], "has no split 'test'; it has train"),
        ([{"prompt": "a", "response": "b"}], ["--out", "pairs.jsonl"], r"row 0 .* has no field 'better_response_id'"),
        ([{**PKU, "response_1": " "}], ["--out", "pairs.jsonl"], "no row could be used"),
    ],
)
def test_bad_calls_are_refused_in_one_sentence(
    builder, write_jsonl, tmp_path, monkeypatch, capsys, rows, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert builder("pku_saferlhf").main(["--dataset", write_jsonl(rows, "in.jsonl"), *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search(message, error) and not (tmp_path / "pairs.jsonl").exists()


def test_missing_public_set_is_said_in_one_sentence(builder, tmp_path, capsys):
    assert builder("hh_rlhf").main(["--out", str(tmp_path / "pairs.jsonl")]) == 2
    assert "Anthropic/hh-rlhf cannot be read from the Hub" in capsys.readouterr().err

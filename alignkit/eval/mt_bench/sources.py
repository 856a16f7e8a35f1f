"""Where MT-Bench's files are: a folder of the user's, `ALIGNKIT_EVAL_DATA`, or FastChat's repository; nothing is shipped.

A folder may be a clone of the repository, its `fastchat/llm_judge`, or what lies in there (`data/mt_bench/question.jsonl`,
`data/mt_bench/reference_answer/gpt-4.jsonl`, `data/judge_prompts.jsonl`), or flat (`mt_bench_questions.jsonl.gz`,
`mt_bench_reference_answers_gpt-4.jsonl.gz`, `mt_bench_judge_prompts.jsonl.gz`). Files that no folder has come from the
repository at a fixed commit.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from alignkit.errors import InputError

from ..hub_files import DATA_VARIABLE, Unavailable, data_folders, repository_file
from .prompts import JudgePrompts, read_prompts


REPOSITORY = "https://raw.githubusercontent.com/lm-sys/FastChat"
COMMIT = "587d5cfa1609a43d192cedb8441cac3c17db105d"
TREE = "fastchat/llm_judge/data/"
QUESTIONS = "mt_bench/question.jsonl"
REFERENCES = "mt_bench/reference_answer/gpt-4.jsonl"
PROMPTS = "judge_prompts.jsonl"
FLAT = {
    QUESTIONS: "mt_bench_questions.jsonl",
    REFERENCES: "mt_bench_reference_answers_gpt-4.jsonl",
    PROMPTS: "mt_bench_judge_prompts.jsonl",
}
SUFFIXES = ("", ".gz")


@dataclass(frozen=True)
class Sources:
    """The files of the benchmark. `data` is what the user gave: a folder, or a file of questions."""

    data: str | None = None

    @cached_property
    def folders(self) -> list[Path]:
        """Folders that are looked into, the user's first; beside a file of questions lie the files that go with it."""
        folders = [*data_folders(self.data, "mt_bench"), *data_folders(None, "other")]
        if self.data and (file := Path(self.data).expanduser()).is_file():
            folders = [file.parent, file.parent.parent, *folders]
        return folders

    @cached_property
    def questions(self) -> Path:
        """The file of questions."""
        if self.data and Path(self.data).expanduser().is_file():
            return Path(self.data).expanduser()
        return self.local(QUESTIONS) or self.download(QUESTIONS, "questions")

    @cached_property
    def references(self) -> Path | None:
        """The file of reference answers; None where the questions are of a folder that has none: the repository's belong
        to its own questions."""
        local = self.local(REFERENCES)
        if local is not None or self.data or self.local(QUESTIONS):
            return local
        return self.download(REFERENCES, "reference answers")

    def prompts(self) -> JudgePrompts:
        """The judge's prompts."""
        return read_prompts(self.local(PROMPTS) or self.download(PROMPTS, "judge prompts"))

    def local(self, name: str) -> Path | None:
        """A file in the first folder that has it."""
        short = name.removeprefix("mt_bench/")
        for root in self.folders:
            for place in (root / TREE / name, root / "data" / name, root / name, root / short, root / FLAT[name]):
                for suffix in SUFFIXES:
                    path = place.with_name(place.name + suffix)
                    if path.is_file():
                        return path
        return None

    def download(self, name: str, what: str) -> Path:
        """A file of the repository."""
        try:
            return repository_file(REPOSITORY, COMMIT, TREE + name, "fastchat")
        except Unavailable as error:
            raise InputError(
                f"the {what} of MT-Bench cannot be had from FastChat's repository ({error}): clone "
                f"https://github.com/lm-sys/FastChat and give its folder with --data, or name one with {DATA_VARIABLE}"
            ) from error

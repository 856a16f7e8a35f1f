"""Where the benchmark's files are: a folder of the user's, `ALIGNKIT_EVAL_DATA`, or the Hub; nothing is shipped.

A folder may be a clone of the benchmark's repository or a copy of its Hub data set (`data/<benchmark>/question.jsonl`,
`data/<benchmark>/model_answer/<baseline>.jsonl`), or flat (`v2.0_questions.jsonl.gz`, `v2.0_answers_<baseline>.jsonl.gz`,
`judge_prompts.json`). Files that no folder has come from the data set at a fixed revision, the judge's prompts from the
repository at a fixed commit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from alignkit.errors import InputError

from ..hub_files import DATA_VARIABLE, Unavailable, data_folders, hub_dataset_file, repository_file
from .prompts import TEMPLATE_FILE, UTILS_FILE, JudgePrompts, layout_in, read_prompts
from .versions import Version


HUB_DATASET = "lmarena-ai/arena-hard-auto"
HUB_REVISION = "15f3746e21432264ce9b453999bde4f3c946d2e6"
REPOSITORY = "https://raw.githubusercontent.com/lmarena/arena-hard-auto"
COMMIT = "196f6b826783b3da7310e361a805fa36f0be83f3"
SUFFIXES = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True)
class Sources:
    """The files of one version. `data` is what the user gave: a folder, or a file of questions."""

    version: Version
    data: str | None = None

    @cached_property
    def folders(self) -> list[Path]:
        """Folders that are looked into, the user's first."""
        return data_folders(self.data, "arena_hard")

    def questions(self) -> Path:
        """The file of questions."""
        if self.data and Path(self.data).expanduser().is_file():
            return Path(self.data).expanduser()
        return self.find(f"{self.version.number}_questions", "question.jsonl", "questions")

    def answers(self, baseline: str) -> Path:
        """The file of a baseline's answers."""
        return self.find(
            f"{self.version.number}_answers*_{baseline}", f"model_answer/{baseline}.jsonl", f"answers of {baseline}"
        )

    def find(self, flat: str, official: str, what: str) -> Path:
        """A file by its flat name (a pattern, without suffix) or its name in the benchmark's folder."""
        folder = self.version.folder
        for root in self.folders:
            tree: Iterable[Path] = (root / "data" / folder / official, root / folder / official, root / official)
            flat_files = (path for suffix in SUFFIXES for path in sorted(root.glob(flat + suffix)))
            for path in (*tree, *flat_files):
                if path.is_file():
                    return path
        found = hub_dataset_file(HUB_DATASET, f"data/{folder}/{official}", HUB_REVISION)
        if found is None:
            raise InputError(
                f"the {what} of {self.version.title} cannot be had from the Hub ({HUB_DATASET}): give a folder that holds "
                f"data/{folder}/{official} with --data (a clone of the benchmark's repository), or name one with "
                f"{DATA_VARIABLE}"
            )
        return found

    def prompts(self) -> JudgePrompts:
        """The judge's prompts."""
        for root in self.folders:
            if layout_in(root):
                return read_prompts(root, self.version)
        return read_prompts(self.repository_files(), self.version)

    def repository_files(self) -> Path:
        """A local folder with the prompt files of the benchmark's repository, downloaded once."""
        try:
            paths = [repository_file(REPOSITORY, COMMIT, name, "arena-hard") for name in (UTILS_FILE, TEMPLATE_FILE)]
        except Unavailable as error:
            raise InputError(missing_prompts(self.version, str(error))) from error
        return paths[0].parents[len(Path(UTILS_FILE).parts) - 1]


def missing_prompts(version: Version, why: str) -> str:
    return (
        f"the judge prompts of {version.title} cannot be had from the benchmark's repository ({why}): clone "
        f"https://github.com/lmarena/arena-hard-auto and give its folder with --data, or name one with {DATA_VARIABLE}"
    )

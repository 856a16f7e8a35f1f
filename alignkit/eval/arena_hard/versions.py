"""What differs between the two versions of the benchmark. Every fact of a version has its one home here."""

from dataclasses import dataclass

from alignkit.errors import InputError


# Rows that a strong verdict counts as.
STRONG_WEIGHT = 3


@dataclass(frozen=True)
class Version:
    """One version of Arena-Hard.

    Attributes:
        key: name of the suite.
        number: as in the names of files ("v0.1").
        size: number of prompts.
        baselines: baseline model of each category.
        judge_model, temperature, max_tokens: the official judge and how it is asked.
        attempts: replies asked for until one holds a verdict.
        drop_question: a null game takes the other game of its question with it.
        seed: of the official resampling (v2.0's own code sets none).
        tail: share cut from each end of the bootstrap distribution by the interval.
        headline: category of the figure that the leaderboard leads with.
        tokenizer: model whose tiktoken vocabulary measures an answer's length.
    """

    key: str
    title: str
    number: str
    size: int
    baselines: dict[str, str]
    judge_model: str
    temperature: float
    max_tokens: int
    attempts: int
    drop_question: bool
    seed: int
    tail: float
    headline: str
    tokenizer: str

    @property
    def folder(self) -> str:
        """The benchmark's folder in the official file tree (`data/<folder>/question.jsonl`)."""
        return f"arena-hard-{self.number}"

    def baseline(self, category: str) -> str:
        """Baseline of a category. Raises `InputError` for a category that the version does not have."""
        if category not in self.baselines:
            raise InputError(
                f"{self.title} has no category {category!r}: it has {', '.join(self.baselines)}, each with its baseline"
            )
        return self.baselines[category]


V01 = Version(
    key="arena_hard_v01",
    title="Arena-Hard v0.1",
    number="v0.1",
    size=500,
    baselines={"arena-hard-v0.1": "gpt-4-0314"},
    judge_model="gpt-4-1106-preview",
    temperature=0.0,
    max_tokens=4096,
    attempts=2,
    drop_question=False,
    seed=42,
    tail=0.025,
    headline="arena-hard-v0.1",
    tokenizer="gpt-3.5-turbo",
)
V2 = Version(
    key="arena_hard_v2",
    title="Arena-Hard v2.0",
    number="v2.0",
    size=750,
    baselines={"hard_prompt": "o3-mini-2025-01-31", "creative_writing": "gemini-2.0-flash-001"},
    judge_model="gpt-4.1",
    temperature=0.0,
    max_tokens=16000,
    attempts=1,
    drop_question=True,
    seed=0,
    tail=0.05,
    headline="hard_prompt",
    tokenizer="gpt-4o",
)
VERSIONS = {version.key: version for version in (V01, V2)}


def version_of(suite: str) -> Version:
    """The version of a suite's name. Raises `InputError` for another name."""
    if suite not in VERSIONS:
        raise InputError(f"there is no Arena-Hard suite {suite!r}: there are {', '.join(VERSIONS)}")
    return VERSIONS[suite]

"""Pairs that PARL samples from the policy while it trains: prompts that wait, pairs that are ready, and their file."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from ...errors import InputError
from ...objectives.preference.parl import DPP, DPR


@dataclass
class Waiting:
    """A prompt of the data set that is to be answered twice for a route.

    Attributes:
        route: `DPP` or `DPR`.
        prompt_ids: its tokens.
        prompt: as the judge reads it; None where nobody judges.
    """

    route: int
    prompt_ids: list[int]
    prompt: Any = None


@dataclass
class SampledPair:
    """Two responses of the policy with their label.

    Attributes:
        prompt_ids, chosen_ids, rejected_ids: tokens as they were sampled.
        step: optimizer step at which they were sampled.
        uses: how often the pair may still be trained on.
    """

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]
    step: int
    uses: int

    def example(self) -> dict[str, list[int]]:
        """The pair as the collator takes it."""
        return {"prompt_ids": self.prompt_ids, "chosen_ids": self.chosen_ids, "rejected_ids": self.rejected_ids}


class PairBuffer:
    """Prompts that wait for a generation, and the pairs of past ones, per process.

    Attributes:
        waiting: in the order in which they were met.
        ready: pairs by route, oldest first.
        draws, generations: how many batches of routes were drawn and how often was generated: what the seeds are made of.
    """

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []
        self.ready: dict[int, list[SampledPair]] = {DPP: [], DPR: []}
        self.draws = 0
        self.generations = 0

    def take(self, route: int) -> SampledPair | None:
        """The oldest pair of a route, once less; None if there is none."""
        if not self.ready[route]:
            return None
        pair = self.ready[route][0]
        pair.uses -= 1
        if pair.uses == 0:
            self.ready[route].pop(0)
        return pair

    def save(self, path: str) -> None:
        """Write everything, whole or not at all."""
        state = {
            "draws": self.draws,
            "generations": self.generations,
            "waiting": [asdict(item) for item in self.waiting],
            "ready": {str(route): [asdict(pair) for pair in pairs] for route, pairs in self.ready.items()},
        }
        with open(f"{path}.tmp", "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.replace(f"{path}.tmp", path)

    def load(self, path: str) -> None:
        """Take over what `save` wrote; `InputError` where it is missing."""
        try:
            with open(path, encoding="utf-8") as file:
                state = json.load(file)
        except FileNotFoundError:
            raise InputError(
                f"{path} is missing: the checkpoint was not written by this trainer with so many processes, or with "
                "`save_only_model`; start from it as a model (`model_name_or_path`) instead of resuming."
            ) from None
        self.draws, self.generations = state["draws"], state["generations"]
        self.waiting = [Waiting(**item) for item in state["waiting"]]
        self.ready = {int(route): [SampledPair(**pair) for pair in pairs] for route, pairs in state["ready"].items()}


class KeepExamples:
    """Collator that hands the examples on beside the batch, so that some may be replaced."""

    def __init__(self, collator: Any) -> None:
        self.collator = collator

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self.collator(examples), "examples": examples}

"""Baseline answers: scored once for each row by the run's own rewards and judges, and trained on in a completion's place."""

import math
from typing import Any

import torch
from accelerate.utils import gather_object

from ...errors import InputError
from ...judges.conversations import as_text, digest
from .baseline_sampling import BaselineSamplingMixin
from .rounds import COMPLETION_IDS, COMPLETIONS


class BaselinesMixin(BaselineSamplingMixin):
    """Mixin for the online trainer: what the baseline answer of a row is worth, and its tokens.

    The advantage part holds what was scored in training, `baselines`; in evaluation nothing is added to that.
    """

    _seen_in_evaluation: dict[str, list[float]]

    def baseline_text(self, row: dict[str, Any]) -> str | None:
        """The baseline answer of a row as text; None where it has none, or its task needs none."""
        if not self.needs_baseline(row):
            return None
        answer = row.get(self.args.baseline_column)
        if answer in (None, "", []):
            return self.sampled_baseline(row)
        if not isinstance(answer, (str, list)):
            raise InputError(
                f"the column `{self.args.baseline_column}` holds {answer!r}; expected a text or a list of messages."
            )
        return as_text(answer)

    def needs_baseline(self, row: dict[str, Any]) -> bool:
        """Whether the row is scored against a baseline answer."""
        return True

    def lacks_baseline(self, row: dict[str, Any]) -> bool:
        """Whether the row needs a baseline answer that it does not bring, and that is not sampled yet."""
        return self.needs_baseline(row) and self.baseline_text(row) is None

    def baseline_ids(self, row: dict[str, Any]) -> list[int]:
        """The tokens of the row's baseline answer as the policy would write them, end token included; none without one."""
        text = self.baseline_text(row)
        if text is None:
            return []
        tokenizer = self._tokenizer  # type: ignore[attr-defined]
        return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]

    def _more_to_load(self, output: dict[str, Any]) -> dict[str, Any]:
        self.sample_baselines()

        def lengths() -> torch.Tensor:
            counts = [len(self.baseline_ids(row)) for row in self._rows]
            return self.accelerator.gather(torch.tensor(counts, device=self.accelerator.device))

        return {
            **super()._more_to_load(output),  # type: ignore[misc]
            "baseline_rewards": self._baseline_rewards,
            "baseline_lengths": lengths,
        }

    def _baseline_rewards(self) -> torch.Tensor:
        """[N, K] rewards of the rows' baseline answers, all processes; what is not known yet is scored now."""
        known, found = self.parts["advantage"].baselines, self._seen_in_evaluation
        keys = [self._baseline_key(row) for row in self._rows]
        own = {key: row for key, row in zip(keys, self._rows, strict=True) if key is not None}
        # The same rows, in the same order, on every process.
        fresh = {key: row for key, row in gather_object(list(own.items())) if key not in known and key not in found}
        if fresh:
            (known if self.model.training else found).update(self._score_baselines(fresh))
        width = len(self.reward_func_names)  # type: ignore[attr-defined]
        none = [math.nan] * width
        table = [none if key is None else known.get(key) or found[key] for key in keys]
        return self.accelerator.gather(torch.tensor(table, device=self.accelerator.device))

    def _baseline_key(self, row: dict[str, Any]) -> str | None:
        text = self.baseline_text(row)
        return None if text is None else digest([row["prompt"], row.get("task"), text])

    def _score_baselines(self, fresh: dict[str, dict[str, Any]]) -> dict[str, list[float]]:
        """Score the answers, shared out over the processes; those with less to do score their first one again."""
        rows, processes = list(fresh.values()), self.accelerator.num_processes
        share = math.ceil(len(rows) / processes)
        first = share * self.accelerator.process_index
        mine = rows[first : first + share]
        mine += [rows[0]] * (share - len(mine))
        texts = [self.baseline_text(row) for row in mine]
        answers = [
            text if isinstance(row["prompt"], str) else [{"role": "assistant", "content": text}]
            for row, text in zip(mine, texts, strict=True)
        ]
        result: list[Any] = [None] * (COMPLETIONS + 1)
        result[COMPLETIONS], result[COMPLETION_IDS] = answers, [self.baseline_ids(row) for row in mine]
        rewards = self._score(mine, [row["prompt"] for row in mine], result)  # type: ignore[attr-defined]
        # What the functions logged is not of a completion.
        self._pending_metrics.clear()  # type: ignore[attr-defined]
        self._pending_extra_logs.clear()  # type: ignore[attr-defined]
        return dict(zip(fresh, rewards[: len(rows)].tolist(), strict=True))

    def put_baselines(self, output: dict[str, Any], rows: torch.Tensor) -> None:
        """Put the baseline answers of `rows` (places on this process) in the place of their completions.

        The log-probabilities of the batch, which were those of the completions, leave the output.
        """
        for name in ("old_per_token_logps", "ref_per_token_logps", "sampling_per_token_logps"):
            output.pop(name, None)
        if not len(rows):
            return
        answers = {int(row): self.baseline_ids(self._rows[int(row)]) for row in rows}
        width = max(map(len, answers.values()))
        fill = {"completion_ids": self._tokenizer.pad_token_id, "completion_mask": 0, "tool_mask": 0}  # type: ignore[attr-defined]
        wider = max(width - output["completion_ids"].shape[1], 0)
        for name, value in fill.items():
            if name in output:
                output[name] = torch.nn.functional.pad(output[name], (0, wider), value=value)
        for row, ids in answers.items():
            for name, value in fill.items():
                if name in output:
                    output[name][row] = value
                    output[name][row, : len(ids)] = 1
            output["completion_ids"][row, : len(ids)] = torch.tensor(ids, device=output["completion_ids"].device)

"""Prompts bound late, completions generated again under guidance, stored ones replayed: the first four slots.

A row has two prompts: the one it was generated under and the one it is trained under. Every decision is made on every
process from gathered data, so that all of them generate, exchange and score equally often.
"""

from typing import Any

import torch

from ...errors import InputError
from ...parts.guidance.base import GuidedPrompt
from ...parts.rollout import Origin
from ...parts.sources.base import PromptItem


# Of the lists that TRL's `_generate` returns, those that a row is made of.
PROMPT_IDS, COMPLETION_IDS, COMPLETIONS, LOGPROBS = 0, 1, 3, 4


class RoundsMixin:
    """The seams before and after generation. Inactive in evaluation, and where the four slots are empty."""

    parts: dict[str, Any]
    accelerator: Any
    model: Any
    args: Any
    train_dataset: Any
    _rows: list[dict[str, Any]]
    _items: list[PromptItem] | None = None
    _groups: torch.Tensor | None = None
    _final_rewards: torch.Tensor | None = None
    _origins: list[int] | None = None

    def open_parts(self) -> None:
        """Give the source its data set, and refuse what the first four slots cannot do."""
        slots = [slot for slot in ("source", "allocator", "guidance", "replay") if self._own(slot) is not None]
        if not slots:
            return
        if not hasattr(self.train_dataset, "__len__"):
            raise InputError(f"`{slots[0]}` needs a data set with a length; a streamed one cannot be drawn from.")
        if self.tools or self.rollout_func is not None or self.environment_factories is not None:  # type: ignore[attr-defined]
            raise InputError(f"`{slots[0]}` does not go with tools, environments or a `rollout_func`.")
        source = self._own("source")
        if source is not None:
            source.open(self.train_dataset)

    def _own(self, slot: str) -> Any:
        """The part in a slot if it does anything in training."""
        part = self.parts.get(slot)
        return part if part is not None and part.own else None

    def _bind_prompts(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """This process's rows of the next generation batch: what the dataloader brought, unless a part decides."""
        source, allocator = self._own("source"), self._own("allocator")
        per_prompt = self.num_generations
        total = len(inputs) * self.accelerator.num_processes
        self._items, self._groups = None, torch.arange(total) // per_prompt
        if source is None and allocator is None:
            return inputs
        groups = total // per_prompt
        if source is not None:
            self._items = source.draw(groups)
            rows = [item.row for item in self._items]
        else:
            from accelerate.utils import gather_object

            rows = gather_object(inputs)[::per_prompt]
        if allocator is not None:
            self._groups = allocator.plan(groups, per_prompt)
        first = self.accelerator.process_index * len(inputs)
        return [dict(rows[group]) for group in self._groups[first : first + len(inputs)].tolist()]

    def _generate(self, prompts: list):
        result = super()._generate(prompts)  # type: ignore[misc]
        guidance, replay = self._own("guidance"), self._own("replay")
        self._origins, self._final_rewards = [Origin.FRESH] * len(prompts), None
        if not self.model.training or (guidance is None and replay is None):
            return result
        result = [list(item) if isinstance(item, list) else item for item in result]
        self._remember(result)
        rewards = self._score(self._rows, prompts, result)
        if guidance is not None:
            self._guide(guidance, prompts, result, rewards)
        if replay is not None:
            self._replay(replay, result, rewards)
        self._final_rewards = rewards
        return tuple(result)

    def _score(self, rows: list[dict[str, Any]], prompts: list, result: list) -> torch.Tensor:
        """[N, K] rewards of all processes, by the reward functions themselves."""
        return super()._calculate_rewards(rows, prompts, result[COMPLETIONS], result[COMPLETION_IDS])  # type: ignore[misc]

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        if self._final_rewards is not None and self.model.training:
            return self._final_rewards
        return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)  # type: ignore[misc]

    def _guide(self, guidance: Any, prompts: list, result: list, rewards: torch.Tensor) -> None:
        """Generate rows again for as long as the guidance proposes some; `result` and `rewards` change in place."""
        local, attempt = len(prompts), 0
        while proposed := guidance.propose(attempt, self._rollout_batch_of(rewards)):
            rows = sorted(proposed)
            ranks = [row // local for row in rows]
            share = max(ranks.count(rank) for rank in set(ranks))
            mine = [row for row in rows if row // local == self.accelerator.process_index]
            again = [self._prompt_of(row % local, proposed[row], prompts) for row in mine]
            # Processes with less to do repeat their first prompt, so that all take part in every exchange.
            again += [prompts[0]] * (share - len(again))
            data = [self._rows[row % local] for row in mine] + [self._rows[0]] * (share - len(mine))
            fresh = self._generate_each(again)
            scored = self._score(data, again, fresh)
            order = [rank * share + ranks[:place].count(rank) for place, rank in enumerate(ranks)]
            after = scored[order]
            keep = guidance.resolve(torch.tensor(rows), rewards[rows], after)
            for place, row in enumerate(rows):
                if not keep[place]:
                    continue
                rewards[row] = after[place]
                if row in mine:
                    self._take(result, row % local, fresh, mine.index(row), proposed[row].train_under_own)
            self._remember(result)
            attempt += 1

    def _generate_each(self, prompts: list) -> list:
        """Generate one completion for each prompt, whatever its neighbours are."""
        known = self.num_generations  # type: ignore[has-type]
        self.num_generations = 1  # a vLLM server would take every `num_generations`-th prompt for all of its run
        try:
            return list(super()._generate(prompts))  # type: ignore[misc]
        finally:
            self.num_generations = known

    def _prompt_of(self, row: int, guided: GuidedPrompt, prompts: list) -> Any:
        """A guided prompt; the row's own where the guided one is longer than the model can take."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        tokens = len(self._tokenize_prompts([guided.prompt])[0][0])  # type: ignore[attr-defined]
        fits = limit is None or tokens + self.max_completion_length <= limit  # type: ignore[attr-defined]
        self._log_part_metrics({"guidance/too_long": float(not fits)})  # type: ignore[attr-defined]
        return guided.prompt if fits else prompts[row]

    def _take(self, result: list, row: int, fresh: list, place: int, train_under_own: bool) -> None:
        """Put a newly generated completion in a row's place."""
        for item in (COMPLETION_IDS, COMPLETIONS):
            result[item][row] = fresh[item][place]
        if not train_under_own:
            result[PROMPT_IDS][row] = fresh[PROMPT_IDS][place]
        if result[LOGPROBS] is not None:
            tokens = len(result[COMPLETION_IDS][row])
            # Under another prompt the sampler's log-probabilities are no behaviour policy of this row.
            result[LOGPROBS][row] = [None] * tokens if train_under_own else fresh[LOGPROBS][place]
        self._origins[row] = Origin.GUIDED  # type: ignore[index]

    def _replay(self, replay: Any, result: list, rewards: torch.Tensor) -> None:
        """Replace rows by stored completions; `result` and `rewards` change in place."""
        local = len(result[COMPLETIONS])
        batch = self._rollout_batch_of(rewards)
        stored = replay.request(batch)
        for row, item in sorted(stored.items()):
            rewards[row] = torch.tensor(item.rewards, device=rewards.device, dtype=rewards.dtype)
            if row // local == self.accelerator.process_index:
                result[COMPLETION_IDS][row % local] = list(item.completion_ids)
                result[COMPLETIONS][row % local] = item.completion
                if result[LOGPROBS] is not None:
                    result[LOGPROBS][row % local] = [None] * len(item.completion_ids)
                self._origins[row % local] = Origin.REPLAYED  # type: ignore[index]
        self._remember(result)
        replay.store(self._rollout_batch_of(rewards))
        if stored:
            self._log_part_metrics({"replay/rows": len(stored) / len(rewards)})  # type: ignore[attr-defined]

    def _remember(self, result: list) -> None:
        """Keep what a `RolloutBatch` is made from."""
        self._result = result

    def _rollout_batch_of(self, rewards: torch.Tensor) -> Any:
        """The gathered batch as it stands between two attempts."""
        return self._build_batch(  # type: ignore[attr-defined]
            rewards, self._result[COMPLETIONS], [len(ids) for ids in self._result[COMPLETION_IDS]]
        )

    def _tell_source(self, totals: torch.Tensor) -> None:
        """Let the source learn from the final rewards, [M, G] with NaN where a group has fewer completions."""
        source = self._own("source")
        if source is None or not self.model.training or self._items is None:
            return
        assert self._groups is not None
        counts = torch.bincount(self._groups, minlength=len(self._items))
        table = totals.new_full((len(self._items), int(counts.max())), torch.nan)
        for group in range(len(self._items)):
            own = totals[(self._groups == group).to(totals.device)]
            table[group, : len(own)] = own
        source.observe(self._items, table)

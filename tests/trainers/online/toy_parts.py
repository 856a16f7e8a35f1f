"""The smallest parts that use each of the first four slots, for the tests of the trainer's rounds."""

import torch

from alignkit.parts.advantages.base import AdvantageEstimator
from alignkit.parts.allocators.base import RolloutAllocator
from alignkit.parts.guidance.base import Guidance, GuidedPrompt
from alignkit.parts.replay.base import ReplayBuffer, StoredCompletion
from alignkit.parts.rollout import Advantages
from alignkit.parts.sources.base import PromptItem, PromptSource
from alignkit.parts.table import PARTS


class Backwards(PromptSource):
    """The data set from its end; remembers the rewards it was told."""

    def __init__(self, config, seed=0):
        super().__init__(config, seed)
        self.position, self.told = 0, []

    def draw(self, num_groups):
        indices = [len(self.dataset) - 1 - (self.position + place) for place in range(num_groups)]
        self.position += num_groups
        return [PromptItem(index, self.dataset[index]) for index in indices]

    def observe(self, items, rewards):
        self.told.append(([item.index for item in items], rewards.clone()))

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.position = state["position"]


class Lopsided(RolloutAllocator):
    """One completion fewer for the first prompt, one more for the last."""

    def plan(self, num_groups, num_generations):
        groups = torch.arange(num_groups).repeat_interleave(num_generations)
        groups[num_generations - 1] = 1
        return groups.sort().values


class GroupMean(AdvantageEstimator):
    """Reward minus the mean of whatever group a completion is in."""

    any_groups = True

    def __init__(self, config, seed=0):
        super().__init__(config, seed)
        self.batches = []

    def estimate(self, batch):
        totals, values = batch.totals, torch.zeros_like(batch.totals)
        for group in batch.groups.unique():
            own = batch.groups == group
            values[own] = totals[own] - totals[own].mean()
        self.batches.append(batch)
        return Advantages(values)


class HintOnce(Guidance):
    """All rows whose answer is wrong are generated again, once, with the answer in the prompt."""

    train_under_own = False

    def __init__(self, config, seed=0):
        super().__init__(config, seed)
        self.rows = None

    def propose(self, attempt, batch):
        if attempt > 0:
            return {}
        failed = (batch.totals < 1).nonzero().flatten().tolist()
        self.rows = failed
        rows = batch.rows
        return {
            row: GuidedPrompt(
                [{"role": "user", "content": f"{rows[row]['prompt'][0]['content']} {rows[row]['answer']}"}],
                self.train_under_own,
            )
            for row in failed
        }

    def resolve(self, rows, before, after):
        return torch.ones(len(rows), dtype=torch.bool)


class HintOffPolicy(HintOnce):
    """The same, trained under the bare prompt."""

    train_under_own = True


class LastGood(ReplayBuffer):
    """Row 0 of every batch becomes a stored completion whose reward is 5."""

    def __init__(self, config, seed=0):
        super().__init__(config, seed)
        self.seen = []

    def request(self, batch):
        return {0: StoredCompletion([{"role": "assistant", "content": "\\boxed{1}"}], [5, 6, 7], [5.0])}

    def store(self, batch):
        self.seen.append(batch.origins.tolist())


TOYS = {
    "source": Backwards,
    "allocator": Lopsided,
    "advantage": GroupMean,
    "guidance": HintOnce,
    "replay": LastGood,
}


def register(monkeypatch, **classes):
    """Put toy parts into the table under the name `toy`."""
    for slot, part in classes.items():
        monkeypatch.setitem(PARTS[slot], "toy", f"{part.__module__}:{part.__name__}")

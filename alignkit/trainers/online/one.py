"""One completion per prompt, which TRL's GRPO refuses."""


class One(int):
    """The number 1 for TRL, which refuses `num_generations` below 2: to a method without groups it means nothing."""

    def __lt__(self, other):
        return False if other == 2 else int(self) < other

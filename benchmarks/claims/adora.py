"""ADORA's claim: weighing prompts by whether their successes are longer than their failures teaches to reason.

    python benchmarks/claims/adora.py

Every prompt can be answered in two ways. "Short" guesses one of 6 answers. "Long" takes 3 steps of 4 choices each, all of
which must be right. On the 12 easy prompts both can succeed; on the 4 hard ones only "long" can. The choice between the two
and the skill of the 3 steps are shared by all prompts, guesses are each prompt's own, so that what "long" learns on easy
prompts transfers to hard ones. 8 completions per prompt, on-policy gradient descent, every batch of advantages scaled to
the same mean size. Measured: exact accuracy on the hard prompts, and the mean length of right answers on the easy ones.
Controls: no transfer (hard prompts have a choice and a skill of their own), and padding ("long" is the guess with more
words, which helps nothing): there ADORA can raise nothing but length.
"""

import torch
from common import BLUE, GREEN, ORANGE, generator, plt, read_options, save, summary

from alignkit.objectives.advantages import adora_advantages, grpo_advantages


EASY, HARD, GENERATIONS, LR, SIZE = 12, 4, 8, 0.1, 0.8
STEPS, CHOICES, GUESSES = 3, 4, 6
SHORT_LENGTH, LONG_LENGTH, SPREAD = 20.0, 60.0, 5.0
START_LONG, START_SKILL, START_GUESS = 0.5, 0.5, 0.3
VARIANTS = ("transfer", "no transfer", "padding")
METHODS = {
    "GRPO": lambda rewards, lengths: grpo_advantages(rewards, GENERATIONS),
    "ADORA, attenuate": lambda rewards, lengths: adora_advantages(rewards, GENERATIONS, lengths),
    "ADORA, amplify": lambda rewards, lengths: adora_advantages(rewards, GENERATIONS, lengths, mode="amplify"),
}
COLOURS = dict(zip(METHODS, (ORANGE, BLUE, GREEN), strict=True))


def start_logits(chance: float, options: int) -> torch.Tensor:
    """Logits under which option 0, the right one, has the given chance and the others share the rest."""
    rest = (1 - chance) / (options - 1)
    return torch.tensor([chance, *[rest] * (options - 1)], dtype=torch.float64).log()


class Policy:
    """Choice and skill for each kind of prompt, guesses for each prompt; option 0 is right."""

    def __init__(self, variant: str) -> None:
        self.padding = variant == "padding"
        # Easy prompts have kind 0, hard ones too where what is learned transfers.
        hard_kind = int(variant == "no transfer")
        self.kinds = torch.tensor([0] * EASY + [hard_kind] * HARD)
        count = hard_kind + 1
        self.mode = torch.tensor([1 - START_LONG, START_LONG], dtype=torch.float64).log().repeat(count, 1)
        self.skill = start_logits(START_SKILL, CHOICES).repeat(count, STEPS, 1)
        self.guess = start_logits(START_GUESS, GUESSES).repeat(EASY + HARD, 1)
        for item in (self.mode, self.skill, self.guess):
            item.requires_grad_()

    def sample(self, stream: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Log-probabilities with gradient, rewards and lengths of a batch, each [prompts, G]."""

        def pick(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            """[prompts, G] draws from [prompts, options] logits, and their log-probabilities."""
            drawn = torch.multinomial(logits.detach().softmax(1), GENERATIONS, replacement=True, generator=stream)
            return drawn, logits.log_softmax(1).gather(1, drawn)

        is_long, of_mode = pick(self.mode[self.kinds])
        guesses, of_guess = pick(self.guess)
        steps = [pick(self.skill[self.kinds, step]) for step in range(STEPS)]
        by_steps = (is_long == 1) & (not self.padding)
        right_guess = (guesses == 0) & (torch.arange(len(guesses)) < EASY)[:, None]
        right_steps = torch.stack([drawn == 0 for drawn, _ in steps]).all(dim=0)
        logps = of_mode + torch.where(by_steps, torch.stack([logps for _, logps in steps]).sum(dim=0), of_guess)
        noise = SPREAD * torch.randn(is_long.shape, generator=stream, dtype=torch.float64)
        lengths = (torch.where(is_long == 1, LONG_LENGTH, SHORT_LENGTH) + noise).clamp(min=1)
        return logps, torch.where(by_steps, right_steps, right_guess).double(), lengths

    def measure(self) -> tuple[float, float, float]:
        """Exact accuracy on the hard and on the easy prompts, and mean length of right answers on the easy ones."""
        with torch.no_grad():
            long_chance = self.mode.softmax(1)[:, 1]
            steps_right = self.skill.softmax(2)[:, :, 0].prod(dim=1)
            guess_right = float(self.guess.softmax(1)[:EASY, 0].mean())
        hard = 0.0 if self.padding else float(long_chance[-1] * steps_right[-1])
        right_long = float(long_chance[0]) * (guess_right if self.padding else float(steps_right[0]))
        right_short = (1 - float(long_chance[0])) * guess_right
        easy = right_long + right_short
        return hard, easy, (right_long * LONG_LENGTH + right_short * SHORT_LENGTH) / easy


def train(advantages, variant: str, seed: int, steps: int) -> list[tuple[float, float, float]]:
    """What `Policy.measure` gives before each step and at the end."""
    stream, policy = generator(seed), Policy(variant)
    optimizer = torch.optim.SGD([policy.mode, policy.skill, policy.guess], lr=LR)
    curve = [policy.measure()]
    for _ in range(steps):
        logps, rewards, lengths = policy.sample(stream)
        values = advantages(rewards.flatten(), lengths.flatten()).view_as(logps)
        values = values * SIZE / values.abs().mean().clamp(min=1e-12)
        optimizer.zero_grad()
        (-values * logps).mean().backward()
        optimizer.step()
        curve.append(policy.measure())
    return curve


def draw(curves: dict[str, dict[str, torch.Tensor]]) -> plt.Figure:
    figure, axes = plt.subplots(2, len(VARIANTS), figsize=(13, 6.6), sharex=True)
    for (variant, by_method), (accuracy, length) in zip(curves.items(), axes.T, strict=True):
        column = 1 if variant == "padding" else 0
        for name, values in by_method.items():
            mean = values.mean(dim=0)
            accuracy.plot(mean[:, column], color=COLOURS[name], label=name)
            length.plot(mean[:, 2], color=COLOURS[name])
        accuracy.set(title=variant, ylabel=f"accuracy, {'easy' if column else 'hard'} prompts", ylim=(0, 1))
        length.set(xlabel="step", ylabel="length of right answers (tokens)", ylim=(15, 65))
    axes[0, 0].legend(fontsize=8)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=8)
    steps = 20 if options.quick else 200
    curves = {
        variant: {
            name: torch.tensor([train(advantages, variant, seed, steps) for seed in options.seeds])
            for name, advantages in METHODS.items()
        }
        for variant in VARIANTS
    }
    columns = ("hard_accuracy", "easy_accuracy", "length_of_right_answers")
    result = {
        "steps": steps,
        "results": {
            variant: {
                name: {
                    when: {column: summary(values[:, step, i].tolist()) for i, column in enumerate(columns)}
                    for when, step in (("halfway", steps // 2), ("end", steps))
                }
                for name, values in by_method.items()
            }
            for variant, by_method in curves.items()
        },
    }
    save("adora", draw(curves), result, options)
    return result


if __name__ == "__main__":
    main()

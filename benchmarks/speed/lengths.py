"""Lengths of the pairs of six public preference data sets, as distributions to draw from (no data set is needed).

Medians: Wang and Hegde, "Accelerating Direct Preference Optimization with Prefix Sharing" (arXiv 2410.20305; table in the
README of github.com/frankxwang/dpo-prefix-sharing) give for each data set the median overall length of a pair (prompt,
chosen and rejected together, in tokens) and the median ratio of prompt to completion. That this is what "overall" means
shows on TL;DR: 416 and 11.14 there; 352 + 32 + 30 = 414 and 352 / 31 = 11.4 in the histograms named below.

Spread: overall length and ratio are lognormal around these medians, and the ratio of chosen to rejected is lognormal around
1. Published are only
- Capybara's overall length: the same README packs into 3,968 tokens "calculated as 1.1 x 95th percentile", so that the 95th
  percentile is 3,607 and sigma = ln(3607 / 1160) / 1.645 = 0.69;
- TL;DR's completions, in huggingface.co/datasets/vwxyzjn/summarize_from_feedback_oai_preprocessing_1711138084
  (`dataset_visuals/label_token_len.pdf`): chosen mean 33.92 and median 32, rejected 31.36 and 30, so that their sigmas
  sqrt(2 ln(mean / median)) are 0.34 and 0.30, and that of their ratio, if they are independent, 0.45.
All other sigmas are ours, assumed; no source was found. Limits: Capybara and UltraFeedback as in the scripts of that
repository, TL;DR's prompts as in that data set, the others ours.
"""

from typing import NamedTuple

import numpy as np


class Lengths(NamedTuple):
    """Lengths in tokens.

    Attributes:
        overall, ratio: medians of prompt + chosen + rejected and of prompt / mean completion.
        sigma_overall, sigma_ratio, sigma_sides: standard deviations of the logarithms of the overall length, of that
            ratio and of chosen / rejected.
        published: which of the three sigmas have a source.
        max_prompt, max_length: where the prompt and the sequence of prompt and completion are cut.
    """

    overall: float
    ratio: float
    sigma_overall: float
    sigma_ratio: float
    sigma_sides: float
    published: tuple[str, ...]
    max_prompt: int
    max_length: int

    def draw(self, pairs: int, generator: np.random.Generator, scale: float = 1.0) -> np.ndarray:
        """Lengths [pairs, 3] of prompt, chosen and rejected in tokens; `scale` shrinks all lengths and limits."""
        sigmas = np.array([self.sigma_overall, self.sigma_ratio, self.sigma_sides])
        overall, ratio, sides = np.exp(sigmas[:, None] * generator.standard_normal((3, pairs)))
        overall, ratio = scale * self.overall * overall, self.ratio * ratio
        mean = overall / (ratio + 2)
        prompt = np.clip(ratio * mean, 2, scale * self.max_prompt)
        completions = 2 * mean / (1 + np.stack([1 / sides, sides]))
        completions = np.clip(completions, 1, np.maximum(scale * self.max_length - prompt, 1))
        return np.concatenate([prompt[None], completions]).T.round().astype(int)


DATASETS = {
    "capybara": Lengths(1160, 1.59, 0.69, 0.6, 0.5, ("overall",), 2180, 2842),
    "hh_rlhf": Lengths(186, 2.15, 0.8, 0.8, 0.7, (), 1024, 2048),
    "metamath_dpo": Lengths(872, 3.91, 0.35, 0.4, 0.4, (), 2048, 3072),
    "tldr": Lengths(416, 11.14, 0.35, 0.45, 0.45, ("sides",), 512, 768),
    "tulu_helpsteer": Lengths(775, 6.34, 0.7, 0.7, 0.5, (), 2048, 3072),
    "ultrafeedback": Lengths(409, 0.42, 0.7, 0.9, 0.6, (), 512, 1024),
}

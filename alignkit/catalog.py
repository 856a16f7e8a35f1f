"""The single list of methods. Nothing heavy is imported: the command line and the documentation read it.

A new method is one `Method(...)` here, its maths in `alignkit/objectives`, one file in `alignkit/trainers`, one recipe
in `configs` and one page in `docs/methods`.
"""

import difflib
import importlib
from dataclasses import dataclass

from .errors import InputError


@dataclass(frozen=True)
class Method:
    """One method: what it is called, where it comes from, which class trains it.

    Attributes:
        key: its name everywhere (command line, recipes, docs). Acronyms clash in this field; keys do not.
        title: the name spelled out.
        family: `"preference"`, `"reward"`, `"online"`, `"ppo"`, `"iterative"` or `"diffusion"`.
        paper_title, arxiv, citation: the paper, its arXiv id and BibTeX.
        trainer: `"module:Class"` of the trainer.
        config: `"module:Class"` of its configuration dataclass, the only home of the defaults.
        summary: what the method does, in one or two sentences.
        columns: the data set columns it needs.
        metric: the number to watch, and what it should do.
        status: what has been shown of it.
    """

    key: str
    title: str
    family: str
    paper_title: str
    arxiv: str
    citation: str
    trainer: str
    config: str
    summary: str
    columns: tuple[str, ...]
    metric: str
    status: str

    @property
    def paper(self) -> dict[str, str]:
        """The paper as TRL's model card takes it: {title, id, citation}."""
        return {"title": self.paper_title, "id": self.arxiv, "citation": self.citation}

    def load_trainer(self):
        """Import and return the trainer class (heavy)."""
        return _load(self.trainer)

    def load_config(self):
        """Import and return the configuration class (heavy)."""
        return _load(self.config)


def _load(path: str):
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


PAIR = ("prompt", "chosen", "rejected")

_METHODS = [
    Method(
        key="dpo",
        title="Direct Preference Optimization",
        family="preference",
        paper_title="Direct Preference Optimization: Your Language Model is Secretly a Reward Model",
        arxiv="2305.18290",
        citation="""@inproceedings{rafailov2023direct,
    title        = {{Direct Preference Optimization: Your Language Model is Secretly a Reward Model}},
    author       = {Rafailov, Rafael and Sharma, Archit and Mitchell, Eric and Manning, Christopher D. and Ermon, Stefano and Finn, Chelsea},
    year         = 2023,
    booktitle    = {Advances in Neural Information Processing Systems 36},
}""",
        trainer="alignkit.trainers.preference.dpo:DPOTrainer",
        config="alignkit.trainers.preference.dpo:DPOConfig",
        summary="Raises the likelihood of the chosen response against the rejected one, relative to a frozen "
        "reference. Every loss type of `trl.DPOTrainer` is reachable through `loss_type`.",
        columns=PAIR,
        metric="rewards/margins rises from 0; rewards/accuracies rises above 0.5",
        status="equal to trl.DPOTrainer step for step (tested)",
    ),
    Method(
        key="madpo",
        title="Margin-Adaptive Direct Preference Optimization",
        family="preference",
        paper_title="Margin Adaptive DPO: Leveraging Reward Model for Granular Control in Preference Optimization",
        arxiv="2510.05342",
        citation="""@misc{rho2025margin,
    title        = {{Margin Adaptive DPO: Leveraging Reward Model for Granular Control in Preference Optimization}},
    author       = {Rho, Hyung Gyu},
    year         = 2025,
    eprint       = {arXiv:2510.05342},
}""",
        trainer="alignkit.trainers.preference.madpo:MADPOTrainer",
        config="alignkit.trainers.preference.madpo:MADPOConfig",
        summary="DPO with a weight on each pair that grows where a reward model finds the pair hard and shrinks where "
        "it disagrees with the label.",
        columns=(*PAIR, "reward_margin"),
        metric="rewards/margins rises from 0; madpo/weight_mean tells how the batch is weighted (1 is plain DPO)",
        status="golden cases, closed-form optimum and claim check",
    ),
    Method(
        key="modpo",
        title="Multi-Objective Direct Preference Optimization",
        family="preference",
        paper_title="Beyond One-Preference-Fits-All Alignment: Multi-Objective Direct Preference Optimization",
        arxiv="2310.03708",
        citation="""@inproceedings{zhou2024beyond,
    title        = {{Beyond One-Preference-Fits-All Alignment: Multi-Objective Direct Preference Optimization}},
    author       = {Zhou, Zhanhui and Liu, Jie and Shao, Jing and Yue, Xiangyu and Yang, Chao and Ouyang, Wanli and Qiao, Yu},
    year         = 2024,
    booktitle    = {Findings of the Association for Computational Linguistics: ACL 2024},
    pages        = {10586--10613},
}""",
        trainer="alignkit.trainers.preference.modpo:MODPOTrainer",
        config="alignkit.trainers.preference.modpo:MODPOConfig",
        summary="Trains one policy per weight vector on the pairs of one objective, with the rewards of the others as "
        "a margin; the optimum is that of multi-objective RLHF.",
        columns=(*PAIR, "chosen_margin_rewards", "rejected_margin_rewards"),
        metric="rewards/margins rises above 0; modpo/margin is what the other objectives demand of each pair",
        status="golden cases, closed-form optimum and claim check",
    ),
    Method(
        key="sppo",
        title="Self-Play Preference Optimization",
        family="iterative",
        paper_title="Self-Play Preference Optimization for Language Model Alignment",
        arxiv="2405.00675",
        citation="""@inproceedings{wu2025self,
    title        = {{Self-Play Preference Optimization for Language Model Alignment}},
    author       = {Wu, Yue and Sun, Zhiqing and Yuan, Huizhuo and Ji, Kaixuan and Yang, Yiming and Gu, Quanquan},
    year         = 2025,
    booktitle    = {The Thirteenth International Conference on Learning Representations},
    eprint       = {arXiv:2405.00675},
}""",
        trainer="alignkit.trainers.preference.sppo:SPPOTrainer",
        config="alignkit.trainers.preference.sppo:SPPOConfig",
        summary="Draws the log-ratio of each response to its win rate against the policy's own samples, iteration by "
        "iteration (`alignkit loop sppo`); fixes each log-ratio, not only their difference.",
        columns=(*PAIR, "chosen_win_rate", "rejected_win_rate"),
        metric="sppo/chosen_log_ratio rises and sppo/rejected_log_ratio falls from 0; in the loop, win_rate_vs_first "
        "rises above 0.5",
        status="golden cases, closed-form optimum, loop resumed exactly (tested)",
    ),
    Method(
        key="inpo",
        title="Iterative Nash Policy Optimization",
        family="iterative",
        paper_title="Iterative Nash Policy Optimization: Aligning LLMs with General Preferences via No-Regret Learning",
        arxiv="2407.00617",
        citation="""@inproceedings{zhang2025iterative,
    title        = {{Iterative Nash Policy Optimization: Aligning LLMs with General Preferences via No-Regret Learning}},
    author       = {Zhang, Yuheng and Yu, Dian and Peng, Baolin and Song, Linfeng and Tian, Ye and Huo, Mingyue and Jiang, Nan and Mi, Haitao and Yu, Dong},
    year         = 2025,
    booktitle    = {The Thirteenth International Conference on Learning Representations},
    eprint       = {arXiv:2407.00617},
}""",
        trainer="alignkit.trainers.preference.inpo:INPOTrainer",
        config="alignkit.trainers.preference.inpo:INPOConfig",
        summary="Online mirror descent towards the Nash policy: a squared loss on pairs of a knock-out tournament, with "
        "two frozen models, the last policy and the fixed reference (`alignkit loop inpo`).",
        columns=(*PAIR, "last_chosen_logps", "last_rejected_logps"),
        metric="inpo/gap rises towards 1/(2 eta) nats; in the loop, win_rate_vs_first rises above 0.5",
        status="golden cases, closed-form optimum, loop resumed exactly (tested)",
    ),
    Method(
        key="dno",
        title="Direct Nash Optimization",
        family="iterative",
        paper_title="Direct Nash Optimization: Teaching Language Models to Self-Improve with General Preferences",
        arxiv="2404.03715",
        citation="""@misc{rosset2024direct,
    title        = {{Direct Nash Optimization: Teaching Language Models to Self-Improve with General Preferences}},
    author       = {Rosset, Corby and Cheng, Ching-An and Mitra, Arindam and Santacroce, Michael and Awadallah, Ahmed and Xie, Tengyang},
    year         = 2024,
    eprint       = {arXiv:2404.03715},
}""",
        trainer="alignkit.trainers.preference.dno:DNOTrainer",
        config="alignkit.trainers.preference.dno:DNOConfig",
        summary="All large-margin pairs among the policy's samples and a teacher's response, with replay of older pairs "
        "(`alignkit loop dno`); `dno_variant: soft` is the full loss with win rates as labels.",
        columns=PAIR,
        metric="rewards/margins rises from 0; in the loop, win_rate_vs_first rises above 0.5 and the best policy is kept",
        status="golden cases, closed-form optimum, loop resumed exactly (tested)",
    ),
    Method(
        key="apo_accelerated",
        title="Accelerated Preference Optimization",
        family="iterative",
        paper_title="Accelerated Preference Optimization for Large Language Model Alignment",
        arxiv="2410.06293",
        citation="""@misc{he2024accelerated,
    title        = {{Accelerated Preference Optimization for Large Language Model Alignment}},
    author       = {He, Jiafan and Yuan, Huizhuo and Gu, Quanquan},
    year         = 2024,
    eprint       = {arXiv:2410.06293},
}""",
        trainer="alignkit.trainers.preference.apo_accelerated:APOAcceleratedTrainer",
        config="alignkit.trainers.preference.apo_accelerated:APOAcceleratedConfig",
        summary="Iterative DPO (or IPO) with Nesterov momentum: the next iteration starts from weights extrapolated past "
        "the trained ones (`alignkit loop apo_accelerated`). Not Anchored Preference Optimization.",
        columns=PAIR,
        metric="rewards/margins rises from 0; in the loop, win_rate_vs_first rises faster than with alpha 0",
        status="golden cases, closed form, loop resumed exactly, alpha 0 equals iterative DPO (tested)",
    ),
    Method(
        key="mpo",
        title="Mixed Preference Optimization (two-stage)",
        family="iterative",
        paper_title="Mixed Preference Optimization: Reinforcement Learning with Data Selection and Better Reference Model",
        arxiv="2403.19443",
        citation="""@misc{gou2024mixed,
    title        = {{Mixed Preference Optimization: Reinforcement Learning with Data Selection and Better Reference Model}},
    author       = {Gou, Qi and Nguyen, Cam-Tu},
    year         = 2024,
    eprint       = {arXiv:2403.19443},
}""",
        trainer="alignkit.trainers.two_stage.runner:MPORunner",
        config="alignkit.trainers.two_stage.config:MPOConfig",
        summary="DPO on the pairs that a reward model finds easy, then RLOO on the prompts of the hard ones with the DPO "
        "model as start and reference. Not InternVL's MPO (TRL's loss recipe of that name).",
        columns=PAIR,
        metric="the reward of the second stage rises while its KL to the DPO model stays small",
        status="golden cases of the split; the second stage is RLOO in place of PPO",
    ),
    Method(
        key="reward",
        title="Bradley-Terry reward model",
        family="reward",
        paper_title="Training language models to follow instructions with human feedback",
        arxiv="2203.02155",
        citation="""@inproceedings{ouyang2022training,
    title        = {{Training language models to follow instructions with human feedback}},
    author       = {Ouyang, Long and Wu, Jeff and Jiang, Xu and Almeida, Diogo and Wainwright, Carroll L. and others},
    year         = 2022,
    booktitle    = {Advances in Neural Information Processing Systems 35},
}""",
        trainer="alignkit.trainers.reward:RewardTrainer",
        config="alignkit.trainers.reward:RewardConfig",
        summary="A model with one score per response, trained on pairs; `alignkit label` scores data sets with it, and "
        "the judges and rewards of the other methods use it.",
        columns=PAIR,
        metric="eval_accuracy rises above 0.5; margin, the mean score gap of the pairs, rises from 0",
        status="trl.RewardTrainer, with exact resume",
    ),
]

METHODS: dict[str, Method] = {method.key: method for method in _METHODS}


def get(key: str) -> Method:
    """Return the method called `key`; raise `InputError` with the nearest names if there is none."""
    if key in METHODS:
        return METHODS[key]
    near = difflib.get_close_matches(key, METHODS, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known methods: {', '.join(METHODS)}."
    raise InputError(f"there is no method {key!r}; {hint}")

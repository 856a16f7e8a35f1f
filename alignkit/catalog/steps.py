"""The methods that learn from single steps of responses."""

from .method import Method


METHODS = [
    Method(
        key="direct_advantage",
        title="Direct Advantage-Based Policy Optimization",
        family="iterative",
        paper_title="DAPO: Improving Multi-Step Reasoning Abilities of Large Language Models with Direct Advantage-Based "
        "Policy Optimization",
        arxiv="2412.18279",
        citation="""@misc{liu2024direct,
    title        = {{DAPO: Improving Multi-Step Reasoning Abilities of Large Language Models with Direct Advantage-Based Policy Optimization}},
    author       = {Liu, Jiacai and Wang, Chaojie and Liu, Chris Yuhao and Zeng, Liang and Yan, Rui and Sun, Yiwen and Liu, Yang and Zhou, Yahui},
    year         = 2024,
    eprint       = {arXiv:2412.18279},
}""",
        trainer="alignkit.trainers.steps.runner:DirectAdvantageRunner",
        config="alignkit.trainers.steps.config:DirectAdvantageConfig",
        summary="Offline and step by step: samples responses, values the text after each of their steps by completing it "
        "many times, fits a critic to that, and moves each candidate step's log-ratio to its advantage over beta. Not "
        "ByteDance's DAPO (TRL's loss_type 'dapo').",
        columns=("prompt",),
        metric="critic/explained_variance is well above 0; direct_advantage/sign_agreement rises from 0.5 towards 1",
        status="golden cases, claim check, stages resumed exactly",
        metrics={
            "critic/explained_variance": "share of the spread of the Monte-Carlo values that the critic explains; should "
            "rise from 0",
            "critic/value_mean": "mean value of the states; comes near critic/target_mean",
            "critic/target_mean": "mean share of right completions from the states; near 0 or 1 the problems are too hard "
            "or too easy",
            "direct_advantage/advantage_size": "mean size of the advantages of the steps that are trained on",
            "direct_advantage/target_size": "mean size of advantage / beta, in nats: far above what a step's log-ratio can "
            "move, so that gradients are clipped at first (see grad_norm)",
            "direct_advantage/log_ratio_size": "mean size of the steps' log-ratios to the reference, in nats; rises from 0",
            "direct_advantage/log_ratio": "their mean; far below 0 the policy leaves all steps that were sampled",
            "direct_advantage/sign_agreement": "share of steps whose log-ratio has the sign of their advantage; rises "
            "towards 1",
        },
    ),
]

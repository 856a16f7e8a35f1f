"""The methods that generate while they train: GRPO, and the presets of parts on it."""

from .method import Method


PROMPT = ("prompt",)

METHODS = [
    Method(
        key="online",
        title="GRPO made of parts",
        family="online",
        paper_title="DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models",
        arxiv="2402.03300",
        citation="""@misc{shao2024deepseekmath,
    title        = {{DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models}},
    author       = {Shao, Zhihong and Wang, Peiyi and Zhu, Qihao and Xu, Runxin and Song, Junxiao and Bi, Xiao and Zhang, Haowei and Zhang, Mingchuan and Li, Y. K. and Wu, Y. and Guo, Daya},
    year         = 2024,
    eprint       = {arXiv:2402.03300},
}""",
        trainer="alignkit.trainers.online.base:OnlineTrainer",
        config="alignkit.trainers.online.config:OnlineConfig",
        summary="Generates several completions for each prompt and raises the likelihood of those that score above "
        "their group. Every slot (source, allocator, guidance, replay, reward_shaping, advantage, policy_loss) takes a "
        "part of another method; with all of them empty it is plain GRPO.",
        columns=PROMPT,
        metric="reward rises; frac_reward_zero_std (groups without signal) stays below 1",
        status="equal to trl.GRPOTrainer bit for bit (tested)",
    ),
    Method(
        key="mhpo",
        title="Modulated Hazard-aware Policy Optimization",
        family="online",
        paper_title="MHPO: Modulated Hazard-aware Policy Optimization for Stable Reinforcement Learning",
        arxiv="2603.16929",
        citation="""@misc{wang2026mhpo,
    title        = {{MHPO: Modulated Hazard-aware Policy Optimization for Stable Reinforcement Learning}},
    author       = {Wang, Hongjun and Liu, Wei and Gu, Weibo and Sun, Xing and Han, Kai},
    year         = 2026,
    eprint       = {arXiv:2603.16929},
}""",
        trainer="alignkit.trainers.online.mhpo:MHPOTrainer",
        config="alignkit.trainers.online.mhpo:MHPOConfig",
        summary="GRPO whose clipping is replaced by a bounded map of the log-ratio and a hazard penalty that fades large "
        "steps smoothly, faster where a token's probability falls.",
        columns=PROMPT,
        metric="reward rises; grad_norm stays flat where several updates are made per generation",
        status="golden cases, gradient identity and claim check",
        metrics={
            "mhpo/psi_mean": "modulated log-ratio; 0 where the update is on-policy",
            "mhpo/hazard_mean": "hazard of the tokens; 1.33 on-policy with the defaults, higher means stronger damping",
            "mhpo/survival_mean": "exp(-hazard), the factor on the tokens; 0.27 on-policy",
            "mhpo/multiplier_max": "largest gradient multiplier of a token; never above 0.40 with the defaults",
        },
    ),
]

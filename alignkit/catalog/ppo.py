"""PPO and the methods on it: the online trainer with a critic."""

from .method import Method
from .online import PROMPT


PPO_METRICS = {
    "objective/score": "mean score of a completion; should rise",
    "objective/kl": "KL of a completion to the reference in nats, by `kl_estimator`; should stay small",
    "objective/kl_coef": "the adaptive weight of that KL; settles once the KL is at `kl_target`",
    "returns/mean": "what the critic is asked to predict, averaged over tokens",
    "policy/approx_kl": "KL of the generating policy to the one that is updated, per token; should stay small, and is 0 "
    "where updates are on-policy",
    "value/mean": "what the critic predicted; should follow returns/mean",
    "value/explained_variance": "1 means the critic predicts every return, 0 no better than a constant",
    "value/loss": "the critic's loss; should fall",
    "value/clip_fraction": "share of tokens whose value moved further than `cliprange_value` in one update",
    "value/grad_norm": "norm of the critic's gradient before clipping",
    "value/learning_rate": "learning rate of the critic",
}

METHODS = [
    Method(
        key="ppo",
        title="Proximal Policy Optimization",
        family="ppo",
        paper_title="Proximal Policy Optimization Algorithms",
        arxiv="1707.06347",
        citation="""@misc{schulman2017proximal,
    title        = {{Proximal Policy Optimization Algorithms}},
    author       = {Schulman, John and Wolski, Filip and Dhariwal, Prafulla and Radford, Alec and Klimov, Oleg},
    year         = 2017,
    eprint       = {arXiv:1707.06347},
}""",
        trainer="alignkit.trainers.ppo.base:PPOTrainer",
        config="alignkit.trainers.ppo.config:PPOConfig",
        summary="Samples completions, gives every token a reward (a KL penalty, and the score at the end), lets a critic "
        "tell what was expected, and raises the likelihood of what went better. The critic is a model of its own, a head "
        "on the policy, or a second LoRA adapter on one base.",
        columns=PROMPT,
        metric="objective/score rises while objective/kl stays small; value/explained_variance rises above 0",
        status="golden cases, closed limits, exact resume",
        metrics=PPO_METRICS,
    ),
    Method(
        key="rto",
        title="Reinforced Token Optimization",
        family="ppo",
        paper_title="DPO Meets PPO: Reinforced Token Optimization for RLHF",
        arxiv="2404.18922",
        citation="""@misc{zhong2024dpo,
    title        = {{DPO Meets PPO: Reinforced Token Optimization for RLHF}},
    author       = {Zhong, Han and Shan, Zikang and Feng, Guhao and Xiong, Wei and Cheng, Xinle and Zhao, Li and He, Di and Bian, Jiang and Wang, Liwei},
    year         = 2024,
    eprint       = {arXiv:2404.18922},
}""",
        trainer="alignkit.trainers.ppo.rto:RTOTrainer",
        config="alignkit.trainers.ppo.rto:RTOConfig",
        summary="PPO with a reward at every token: the clipped log-ratio of a finished DPO model to its reference, beside "
        "the KL penalty and the score at the end. The DPO model may be an adapter on the policy's own base.",
        columns=PROMPT,
        metric="objective/score and rto/implicit_reward rise; rto/clip_fraction stays away from 1",
        status="golden cases, closed limits, exact resume",
        metrics={
            "rto/implicit_reward": "DPO's implicit reward of a completion, beta1 log(pi_dpo / pi_ref); should rise",
            "rto/dense_reward": "the same after clipping each token: what the policy was given; should rise",
            "rto/clip_fraction": "share of tokens whose reward `dpo_clip` cuts; near 1 only signs are left",
            **PPO_METRICS,
        },
    ),
    Method(
        key="tppo",
        title="Truncated Proximal Policy Optimization",
        family="ppo",
        paper_title="Truncated Proximal Policy Optimization",
        arxiv="2506.15050",
        citation="""@misc{fan2025truncated,
    title        = {{Truncated Proximal Policy Optimization}},
    author       = {Fan, Tiantian and others},
    year         = 2025,
    eprint       = {arXiv:2506.15050},
}""",
        trainer="alignkit.trainers.ppo.tppo:TPPOTrainer",
        config="alignkit.trainers.ppo.tppo:TPPOConfig",
        summary="PPO that does not wait for the longest response. Responses are written in windows of a fixed number of "
        "tokens; after each the policy learns from the new tokens of all of them, finished or not, and the critic from "
        "those that have finished. Unfinished ones go on under the new policy, finished ones give way to new prompts.",
        columns=PROMPT,
        metric="objective/score rises at fewer tppo/decode_steps than PPO needs; value/explained_variance rises above 0",
        status="golden cases, closed limits, exact resume in mid-response",
        metrics={
            "tppo/decode_steps": "tokens of the longest slot of a window: what its generation costs; at most window_length",
            "tppo/window_tokens": "tokens that a slot got in a window, mean; near decode_steps if slots are well used",
            "tppo/finished_share": "share of slots whose response finished in this window; near 0: the critic starves",
            "tppo/response_length": "tokens of the responses that finished in this window",
            "tppo/policy_versions_per_response": "policies that wrote a finished response; 1 is PPO, high is stale context",
            "tppo/value_steps": "share of updates in which the critic learned (`min_value_rows`)",
            **{name: text for name, text in PPO_METRICS.items() if not name.startswith("objective/kl")},
        },
    ),
]

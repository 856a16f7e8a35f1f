"""What the online trainers log, one plain sentence each. `NAME` stands for the name of a reward function.

In evaluation the same names stand behind `eval_`. What a method logs under its own name is in its catalog entry.
"""

ONLINE_METRICS: dict[str, str] = {
    "loss": "no measure of progress: on-policy its value is near 0 because the advantages of a group cancel out; only "
    "its gradient counts",
    "grad_norm": "norm of the gradient before clipping; single high peaks are harmless, a steady rise is not",
    "reward": "mean over completions of the weighted sum of the rewards, after reward shaping; should rise",
    "reward_std": "standard deviation of that sum over all completions of a generation batch; 0 means that nothing can "
    "be learned from it",
    "frac_reward_zero_std": "share of completions in whose group all rewards are equal, so that plain GRPO learns "
    "nothing from them; near 1 the problems are too easy or too hard",
    "rewards/NAME/mean": "mean of one reward function over the completions that it scored; compare it with `reward` to "
    "see which one rises",
    "rewards/NAME/std": "standard deviation of one reward function; 0 means that it tells no completion from another",
    "rewards/NAME/none": "completions of a generation batch, per process, that the function did not score; 0 unless "
    "it means to",
    "rewards/NAME/nan": "the same of those that it gave NaN for; should be 0",
    "rewards/NAME/KIND": "what the function counts itself (`unparsable`, `timeout`, `crash` ...), per generation batch "
    "and process; see the guide on rewards",
    "reward_shaping/raw/NAME/mean": "mean of a reward before reward shaping; only with a part in that slot",
    "kl": "estimated KL divergence from the reference per token, in nats; only with `beta` above 0; starts at 0 and "
    "should rise slowly",
    "entropy": "mean entropy of the next-token distribution at the completions' tokens, in nats; a slow fall is "
    "normal, a fall to 0 means that all completions of a prompt become the same",
    "clip_ratio/region_mean": "share of tokens whose ratio lies beyond the clip range on the side that its advantage "
    "pushes to, so that they give no gradient; 0 on-policy, a few hundredths are usual, much more means too many or too "
    "large updates per generation",
    "clip_ratio/low_mean": "of these, tokens with a negative advantage and a ratio below 1 - epsilon",
    "clip_ratio/high_mean": "of these, tokens with a positive advantage and a ratio above 1 + epsilon_high",
    "clip_ratio/low_min": "smallest share of low-clipped tokens in any completion of a forward pass",
    "clip_ratio/high_max": "largest share of high-clipped tokens in any completion of a forward pass",
    "cispo_clip_ratio": "share of tokens whose importance weight is capped; only with `loss_type: cispo`",
    "vespo/phi_seq_mean": "mean weight of a completion; only with `loss_type: vespo`",
    "completions/mean_length": "tokens per completion, end token included; a fall or rise should have a reason in the "
    "rewards",
    "completions/min_length": "the shortest completion; 1 means that a completion was empty",
    "completions/max_length": "the longest completion; `max_completion_length` as long as any is cut off",
    "completions/clipped_ratio": "share of completions cut off at `max_completion_length`; if it is high, raise that "
    "length, or the policy is punished for not finishing",
    "completions/mean_terminated_length": "mean length of the completions that ended by themselves; 0 where none did",
    "completions/min_terminated_length": "the shortest of these",
    "completions/max_terminated_length": "the longest of these",
    "num_tokens": "tokens read and written so far by all processes, a prompt counted once for each completion",
    "step_time": "seconds of an update on the main process; updates that generate take longer than those that reuse a "
    "batch",
    "policy_loss": "the loss without its entropy term; only with `entropy_coef` or `use_adaptive_entropy`",
    "entropy_coef": "coefficient of the entropy term; only with these",
    "aux_loss": "load-balancing loss of a mixture of experts; only where it is trained",
    "sampling/sampling_logp_difference/mean": "with vLLM: mean difference of its log-probabilities from the trainer's, "
    "in nats; should be near 0",
    "sampling/sampling_logp_difference/max": "with vLLM: the largest such difference; above about 0.5 look at dtype and "
    "attention implementation",
    "sampling/importance_sampling_ratio/mean": "with vLLM: mean weight that corrects for that difference; should be "
    "near 1",
    "sampling/importance_sampling_ratio/min": "with vLLM: the smallest weight",
    "sampling/importance_sampling_ratio/max": "with vLLM: the largest weight, bounded by "
    "`vllm_importance_sampling_clip_max`",
    "guidance/too_long": "share of guided prompts that were too long for the model and left as they were; only with a "
    "guidance",
    "replay/rows": "share of completions that came out of the replay buffer; only with one",
}

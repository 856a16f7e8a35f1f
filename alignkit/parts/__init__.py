"""The interchangeable parts of the online trainer: one folder for each of its seven slots, one file for each part.

| slot | question it answers |
|---|---|
| `source` | which prompts? |
| `allocator` | how many completions for each, in how many rounds? |
| `guidance` | what to do for a group that failed? |
| `replay` | which stored completions join a group? |
| `reward_shaping` | what are the final rewards? |
| `advantage` | what is each completion, or token, worth? |
| `policy_loss` | how does a token's probability ratio become a loss? |

An empty slot is plain GRPO. `alignkit.parts.table` lists the parts by slot and name. Parts know the objectives, not the
trainer: what they need of it comes as a `RolloutBatch` or a `TokenBatch`.
"""

"""Every private method of TRL and transformers that alignkit overrides or calls, with the signature it was written for.

A test compares this list with the installed versions, so that an upgrade fails there, loudly, and says what moved.
"""

TRL_VERSION = "1.16.0"

# {"module:Class": {method: its parameters, in order}}
SEAMS: dict[str, dict[str, tuple[str, ...]]] = {
    "trl:DPOTrainer": {
        "_compute_loss": ("self", "model", "inputs", "return_outputs"),
        "_prepare_dataset": ("self", "dataset", "processing_class", "args", "dataset_name"),
        "_precompute_ref_logps": ("self", "dataset", "name", "batch_size"),
        "_set_signature_columns_if_needed": ("self",),
        "compute_ref_log_probs": ("self", "model", "inputs"),
        "_save_checkpoint": ("self", "model", "trial"),
    },
    "trl:GRPOTrainer": {
        "_calculate_rewards": ("self", "inputs", "prompts", "completions", "completion_ids_list"),
        "_compute_loss": ("self", "model", "inputs"),
        "_generate": ("self", "prompts"),
        "_generate_and_score_completions": ("self", "inputs"),
        "_get_per_token_logps_and_entropies": (
            "self",
            "model",
            "input_ids",
            "attention_mask",
            "logits_to_keep",
            "batch_size",
            "compute_entropy",
            "compute_aux_loss",
            "pixel_values",
            "image_grid_thw",
            "num_images",
            "pixel_attention_mask",
            "spatial_shapes",
            "num_tiles",
            "image_sizes",
            "token_type_ids",
            "mm_token_type_ids",
            "image_position_ids",
        ),
        "_generate_single_turn": (
            "self",
            "prompt_ids",
            "images",
            "multimodal_fields",
            "num_generations",
            "has_tool_images",
        ),
        "_get_train_sampler": ("self", "dataset"),
        "_load_optimizer_and_scheduler": ("self", "checkpoint"),
        "_prepare_inputs": ("self", "generation_batch"),
        "_save_checkpoint": ("self", "model", "trial"),
        "_tokenize_prompts": ("self", "prompts"),
        "training_step": ("self", "model", "inputs", "num_items_in_batch"),
    },
    "trl:RLOOTrainer": {
        "_get_train_sampler": ("self", "dataset"),
    },
    "transformers:Trainer": {
        "_get_output_dir": ("self", "trial"),
        "_get_train_sampler": ("self", "train_dataset"),
        "_load_best_model": ("self",),
        "_load_from_checkpoint": ("self", "resume_from_checkpoint", "model"),
        "_load_rng_state": ("self", "checkpoint"),
        "_prepare_for_training": ("self", "max_steps", "train_dataloader", "resume_from_checkpoint"),
        "_prepare_inputs": ("self", "inputs"),
        "_push_from_checkpoint": ("self", "checkpoint_folder"),
        "_save": ("self", "output_dir", "state_dict"),
        "create_scheduler": ("self", "num_training_steps", "optimizer"),
        "get_batch_samples": ("self", "epoch_iterator", "num_batches", "device"),
        "_save_checkpoint": ("self", "model", "trial"),
        "_save_rng_state": ("self", "output_dir"),
        "save_model": ("self", "output_dir", "_internal_call"),
    },
}

# Attributes that `trl.DPOTrainer` sets and alignkit reads.
DPO_ATTRIBUTES = (
    "_metrics",
    "_signature_columns",
    "_total_train_tokens",
    "_tp_size",
    "aux_loss_enabled",
    "beta",
    "precompute_ref_logps",
    "ref_model",
    "router_aux_loss_coef",
)

# Attributes that `trl.GRPOTrainer` sets and alignkit reads or sets.
GRPO_ATTRIBUTES = (
    "_buffered_inputs",
    "_is_vlm",
    "_logs",
    "_metrics",
    "_step",
    "_tokenizer",
    "aux_loss_enabled",
    "beta",
    "environment_factories",
    "eos_token_ids",
    "max_completion_length",
    "num_generations",
    "num_generations_eval",
    "ref_model",
    "reward_func_names",
    "reward_weights",
    "rollout_func",
    "temperature",
    "tools",
)

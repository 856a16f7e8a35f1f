"""Tiny random reward and pairwise models, as folders and as adapters on a language model."""

from pathlib import Path

from tiny_qwen import MAX_POSITIONS, make_tokenizer


def save_classifier(folder: Path, seed: int = 0, num_labels: int = 1, chat: bool = True) -> str:
    """Save a Qwen3 sequence-classification model with its tokenizer; its scores spread over a few units."""
    import torch
    from transformers import Qwen3Config, Qwen3ForSequenceClassification

    tokenizer = make_tokenizer() if chat else make_tokenizer(None)
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=MAX_POSITIONS,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
        initializer_range=0.3,
        num_labels=num_labels,
    )
    Qwen3ForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def save_reward_adapter(folder: Path, base: str, with_head: bool = True) -> str:
    """Save a LoRA reward adapter on the language model `base`, as `trl.RewardTrainer` with a `peft_config` does."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(5)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    config = LoraConfig(
        r=4,
        target_modules=["q_proj", "down_proj"],
        init_lora_weights=False,
        task_type="SEQ_CLS" if with_head else None,
        modules_to_save=["score"] if with_head else None,
    )
    get_peft_model(model, config).save_pretrained(folder)
    return str(folder)

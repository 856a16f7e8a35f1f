"""The judge reads the tokens that TRL's RewardTrainer trains on."""

import pytest
from tiny_judges import save_classifier

from alignkit.judges.rendering import encode_exchange


@pytest.mark.slow
@pytest.mark.parametrize("chat", [True, False], ids=["chat", "plain"])
def test_tokens_equal_those_of_the_reward_trainer(chat, tmp_path):
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    texts = [("2+2=", "4", "5"), ("Say hi.", "hi there", "no")]
    rows = [{"prompt": prompt, "chosen": chosen, "rejected": rejected} for prompt, chosen, rejected in texts]
    if chat:
        roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
        rows = [{name: [{"role": roles[name], "content": row[name]}] for name in row} for row in rows]
    config = RewardConfig(
        output_dir=str(tmp_path / "out"), use_cpu=True, bf16=False, report_to="none", max_length=None
    )
    model = save_classifier(tmp_path / "model")
    trainer = RewardTrainer(model=model, args=config, train_dataset=Dataset.from_list(rows))
    for row, trained in zip(rows, trainer.train_dataset, strict=True):
        for name in ("chosen", "rejected"):
            ids = encode_exchange(trainer.processing_class, row["prompt"], row[name], "concatenate")
            assert ids == trained[f"{name}_ids"]

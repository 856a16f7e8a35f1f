"""The architecture of PairRM: DeBERTa-v2 and a head that reads two hidden states of it."""

from typing import Any

import torch
from torch import nn
from transformers import DebertaV2Config, DebertaV2Model
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.deberta_v2.modeling_deberta_v2 import DebertaV2PreTrainedModel


class PairRMModel(DebertaV2PreTrainedModel):
    """Logits [B, 1]: how much better candidate 1 is. The names of the parameters are those of the published weights."""

    prefix_fields = {"source": "source_prefix_id", "first": "cand1_prefix_id", "second": "cand2_prefix_id"}
    required_fields = (*prefix_fields.values(), "n_tasks", "drop_out")

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.pretrained_model = DebertaV2Model(config)
        self.head_layer = nn.Sequential(
            nn.Dropout(config.drop_out),
            nn.Linear(2 * width, width),
            nn.Tanh(),
            nn.Dropout(config.drop_out),
            nn.Linear(width, config.n_tasks),
        )
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.pretrained_model.get_input_embeddings()

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **kwargs: Any
    ) -> SequenceClassifierOutput:
        """Score (source, candidate 1) and (source, candidate 2) by the states at their special tokens; subtract."""
        states = self.pretrained_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        source, first, second = (
            states[torch.arange(len(states)), (input_ids == getattr(self.config, name)).int().argmax(dim=1)]
            for name in self.prefix_fields.values()
        )
        scores = [self.head_layer(torch.cat([source, candidate], dim=-1)) for candidate in (first, second)]
        # The tasks are aspects of quality; the published model has one.
        return SequenceClassifierOutput(logits=(scores[0] - scores[1]).mean(dim=-1, keepdim=True))

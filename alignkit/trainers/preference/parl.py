"""PARL's form for language models, SAIL (arXiv 2406.15567): DPO whose data depend on the policy, with that gradient."""

import dataclasses
import logging
import os
from typing import Any

import torch
from trl.models import unwrap_model_for_generation

from ...catalog import get
from ...errors import InputError
from ...generation import SamplingParams, derive_seed
from ...generation.transformers_backend import TransformersGenerator
from ...judges import Judge
from ...objectives.preference import parl_loss, parl_score_weights
from ...objectives.preference.dpo import log_ratio_gap
from ...objectives.preference.parl import DDP, DPO, DPP, DPR
from ...objectives.sampling import parl_routes, parl_swap
from ..iterative.judging import build_judge, judgements_of
from .base import PreferenceBatch, PreferenceTrainer
from .parl_config import PARLConfig
from .parl_pairs import KeepExamples, PairBuffer, SampledPair, Waiting


logger = logging.getLogger(__name__)

# What a batch holds beside TRL's keys: each pair's route, and the number that DDP's label is drawn with.
COLUMNS = ("parl_route", "parl_uniform")


class PARLTrainer(PreferenceTrainer):
    """DPO on a mixture of the data set's pairs and the policy's own, with the gradient through labels and responses.

    `args` is a [`PARLConfig`]; `judge` replaces the judge that it names for route DPR; the other arguments are those of
    `trl.DPOTrainer`. Evaluation is DPO on the data set's pairs.

    Raises `InputError` for a judge that is not there, a streamed data set on route DPR, and a sharded policy that would
    have to generate.
    """

    _tag_names = ["alignkit", "trl", "parl"]
    _name = "PARL"
    _paper = get("parl").paper
    method_key = "parl"

    args: PARLConfig

    def __init__(
        self, model=None, ref_model=None, args=None, train_dataset=None, eval_dataset=None, judge=None, **kwargs
    ):
        args = args or PARLConfig("PARL")
        self.judge: Judge | None = judge
        if args.dpr_mixture > 0 and judge is None:
            self.judge = judge_of(args, train_dataset, os.path.join(args.output_dir, "replies.cache.jsonl"))
        self.buffer = PairBuffer()
        self._warned = False
        super().__init__(
            model=model,
            ref_model=ref_model,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            **kwargs,
        )
        sharded = self.is_fsdp_enabled or (
            self.is_deepspeed_enabled and self.accelerator.state.deepspeed_plugin.zero_stage == 3
        )
        if args.generates and sharded:
            raise InputError(
                "the processes generate at different steps, which a policy sharded by FSDP or ZeRO-3 cannot; use ZeRO-2, "
                "or set `dpp_mixture` and `dpr_mixture` to 0."
            )
        self._columns += COLUMNS
        self.pair_collator = self.data_collator
        self.data_collator = KeepExamples(self.pair_collator)

    @classmethod
    def check_rows(cls, args: PARLConfig, dataset: Any) -> None:
        """Raise `InputError` for what of the data set or the judge would stop the training."""
        if args.dpr_mixture > 0:
            judge_of(args, dataset, None)

    # The routes of a batch

    def _set_signature_columns_if_needed(self):
        if self._signature_columns is None:
            super()._set_signature_columns_if_needed()
            self._signature_columns = [*(self._signature_columns or ()), "prompt"]

    def _prepare_inputs(self, inputs):
        examples = inputs.pop("examples")
        if self.model.training:
            uniform = self.draw(len(examples))
            shares = (self.args.ddp_mixture, self.args.dpp_mixture, self.args.dpr_mixture)
            routes = self.place_pairs(examples, parl_routes(uniform[0], *shares).tolist())
            if max(routes) > DDP:
                inputs = self.pair_collator(examples)
        else:
            uniform, routes = torch.zeros(2, len(examples)), [DPO] * len(examples)
        return super()._prepare_inputs({**inputs, "parl_route": torch.tensor(routes), "parl_uniform": uniform[1]})

    def draw(self, count: int) -> torch.Tensor:
        """[2, B] uniform numbers, for the routes and for the labels of a batch, another batch every time."""
        seed = derive_seed(self.args.seed, "routes", self.accelerator.process_index, self.buffer.draws)
        self.buffer.draws += 1
        return torch.rand(2, count, generator=torch.Generator().manual_seed(seed))

    def place_pairs(self, examples: list[dict[str, Any]], drawn: list[int]) -> list[int]:
        """Put ready pairs of the policy in the place of examples (in `examples`), and return the routes that hold.

        The prompts of the data set wait for the next generation. Where no pair is ready, the example stays and takes
        route 0: the further terms are for the policy's own pairs.
        """
        room = None if self.args.max_length is None else self.args.max_length - self.args.max_completion_length
        sampled = [place for place, route in enumerate(drawn) if route in (DPP, DPR)]
        for place in sampled:
            prompt_ids = examples[place]["prompt_ids"]
            if room is None or len(prompt_ids) <= room:
                prompt = examples[place].get("prompt") if drawn[place] == DPR else None
                self.buffer.waiting.append(Waiting(drawn[place], list(prompt_ids), prompt))
        while len(self.buffer.waiting) >= self.args.prompts_per_generation:
            self.generate_pairs()
        routes = list(drawn)
        ages = []
        for place in sampled:
            pair = self.buffer.take(drawn[place])
            if pair is None:
                routes[place] = DPO
            else:
                examples[place] = pair.example()
                ages.append(self.state.global_step - pair.step)
        if self.args.generates:
            self._note("not_ready", [float(routes[place] == DPO) for place in sampled])
            self._note("pair_age", ages)
        return routes

    # The policy's own pairs

    def generate_pairs(self) -> None:
        """Answer the first waiting prompts twice, label the responses and make the pairs ready.

        Pairs that the judge could not tell apart, or not judge at all, are left out and counted.
        """
        args, buffer = self.args, self.buffer
        batch, buffer.waiting = (
            buffer.waiting[: args.prompts_per_generation],
            buffer.waiting[args.prompts_per_generation :],
        )
        place = (self.accelerator.process_index, buffer.generations)
        buffer.generations += 1
        seeds = [derive_seed(args.seed, "pairs", *place, row, k) for row in range(len(batch)) for k in (0, 1)]
        prompts = [item.prompt_ids for item in batch for _ in (0, 1)]
        sampling = SamplingParams(args.temperature, max_new_tokens=args.max_completion_length)
        with unwrap_model_for_generation(
            self.model_wrapped, self.accelerator, gradient_checkpointing_kwargs=args.gradient_checkpointing_kwargs
        ) as model:
            generator = TransformersGenerator(model, self._tokenizer, args.generation_batch_size)
            found = sorted(generator.generate(prompts, sampling, seeds), key=lambda item: item.index)
        pairs = [
            SampledPair(
                item.prompt_ids,
                list(found[2 * row].token_ids),
                list(found[2 * row + 1].token_ids),
                self.state.global_step,
                args.generation_reuse,
            )
            for row, item in enumerate(batch)
        ]
        texts = [[found[2 * row].text, found[2 * row + 1].text] for row in range(len(batch))]
        self.label_own([pair for pair, item in zip(pairs, batch, strict=True) if item.route == DPP])
        self.label_judged(
            [
                (pair, item.prompt, two)
                for pair, item, two in zip(pairs, batch, texts, strict=True)
                if item.route == DPR
            ]
        )
        self._note("completion_length", [item.n_tokens for item in found])
        self._note("truncated", [item.finish_reason == "length" for item in found])

    @torch.no_grad()
    def label_own(self, pairs: list[SampledPair]) -> None:
        """Route DPP: the policy draws which response is the chosen one, as its implicit rewards say."""
        size = self.args.per_device_train_batch_size
        for start in range(0, len(pairs), size):
            chunk = pairs[start : start + size]
            inputs = super()._prepare_inputs(self.pair_collator([pair.example() for pair in chunk]))
            with self.accelerator.autocast():
                _, logps = self.policy_pass(self.model, inputs)
            reference = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
            uniform = self.draw(len(chunk))[1].to(logps.device)
            first, second = logps.chunk(2)
            swap = parl_swap(first, second, reference[0], reference[1], uniform, self.beta)
            for pair, swapped in zip(chunk, swap.tolist(), strict=True):
                if swapped:
                    pair.chosen_ids, pair.rejected_ids = pair.rejected_ids, pair.chosen_ids
        self.buffer.ready[DPP] += pairs

    def label_judged(self, judged: list[tuple[SampledPair, Any, list[str]]]) -> None:
        """Route DPR: the judge says which of the two responses is the chosen one."""
        if not judged:
            return
        assert self.judge is not None
        preferences, scores = judgements_of(
            self.judge, "matrix", [prompt for _, prompt, _ in judged], [texts for _, _, texts in judged]
        )
        assert preferences is not None
        wins = preferences[:, 0, 1].tolist()
        for (pair, _, _), win in zip(judged, wins, strict=True):
            if win < 0.5:
                pair.chosen_ids, pair.rejected_ids = pair.rejected_ids, pair.chosen_ids
            if win < 0.5 or win > 0.5:
                self.buffer.ready[DPR].append(pair)
        self._note("ties", [win == 0.5 for win in wins])
        self._note("not_judged", [win != win for win in wins])
        if scores is not None:
            self._note("judge_score", [value for value in scores.flatten().tolist() if value == value])

    def _note(self, name: str, values: list) -> None:
        """Keep the mean of this process for the next log line: the processes do not generate at the same steps."""
        if values:
            self._metrics["train"][f"parl/{name}"].append(sum(map(float, values)) / len(values))

    # The loss

    def labelled(self, batch: PreferenceBatch) -> PreferenceBatch:
        """The batch with the labels of route DDP drawn by the policy as it is now; no gradient goes through the draw."""
        route, uniform = batch.columns["parl_route"], batch.columns["parl_uniform"]
        swap = (route == DDP) & parl_swap(*batch.logps, uniform, self.beta)
        chosen, rejected = batch.policy_chosen_logps, batch.policy_rejected_logps
        ref_chosen, ref_rejected = batch.ref_chosen_logps, batch.ref_rejected_logps
        return dataclasses.replace(
            batch,
            policy_chosen_logps=torch.where(swap, rejected, chosen),
            policy_rejected_logps=torch.where(swap, chosen, rejected),
            ref_chosen_logps=torch.where(swap, ref_rejected, ref_chosen),
            ref_rejected_logps=torch.where(swap, ref_chosen, ref_rejected),
        )

    def preference_loss(self, batch: PreferenceBatch):
        args = self.args
        return parl_loss(
            *self.labelled(batch).logps,
            batch.columns["parl_route"],
            self.beta,
            args.ddp_coef,
            args.dpp_coef,
            args.dpr_coef,
            args.score_baseline,
        )

    def preference_metrics(self, batch: PreferenceBatch):
        args, route = self.args, batch.columns["parl_route"]
        batch = self.labelled(batch)
        chosen, rejected = batch.policy_chosen_logps.detach(), batch.policy_rejected_logps.detach()
        logps = (chosen, rejected, batch.ref_chosen_logps, batch.ref_rejected_logps)
        likelihood = torch.nn.functional.logsigmoid(self.beta * log_ratio_gap(*logps))
        coef = likelihood.new_tensor([0.0, args.ddp_coef, args.dpp_coef, 0.0])[route]
        reversed_pull = (coef * likelihood.abs() > 1).float()
        if not self._warned and bool(reversed_pull.any()):
            self._warned = True
            logger.warning(
                "A pair's log-likelihood is %.3g: times its coefficient it is beyond -1, where the gradient through the "
                "label pulls the pair apart the other way; lower `ddp_coef` or `dpp_coef`, or beta.",
                float(likelihood.min()),
            )
        weights = parl_score_weights(*logps, route, self.beta, args.dpp_coef, args.dpr_coef, args.score_baseline)
        return {
            "parl/dpo": (route == DPO).float(),
            "parl/ddp": (route == DDP).float(),
            "parl/dpp": (route == DPP).float(),
            "parl/dpr": (route == DPR).float(),
            "parl/log_likelihood": likelihood,
            "parl/score_weight": weights,
            "parl/reversed": reversed_pull,
        }

    # What a checkpoint holds beside TRL's files: the buffer is a part of the random state of each process.

    def _save_rng_state(self, output_dir):
        super()._save_rng_state(output_dir)
        self.buffer.save(self._buffer_path(output_dir))

    def _load_rng_state(self, checkpoint):
        super()._load_rng_state(checkpoint)
        if checkpoint is not None:
            self.buffer.load(self._buffer_path(checkpoint))

    def _buffer_path(self, folder: str) -> str:
        return os.path.join(folder, f"parl_pairs_{self.accelerator.process_index}.json")


def judge_of(args: PARLConfig, dataset: Any, cache: str | None) -> Judge:
    """The judge that the configuration names; `cache` keeps the replies that have to be paid for."""
    from datasets import Dataset

    if not isinstance(dataset, Dataset):
        raise InputError("route DPR (`dpr_mixture`) needs the whole data set, not a streamed one.")
    if "prompt" not in dataset.column_names:
        raise InputError(
            "the data set has no column `prompt`, which the judge of route DPR (`dpr_mixture`) reads; its columns are "
            f"{', '.join(dataset.column_names)}."
        )
    wanted = [name for name in ("prompt", args.answer_column) if name in dataset.column_names]
    return build_judge(args, list(dataset.select_columns(wanted)), cache)

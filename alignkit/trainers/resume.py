"""Exact resume: a checkpoint either is there whole or not at all, and training goes on from the newest whole one."""

import logging
import os
import shutil
from typing import Any

from transformers.trainer_utils import get_last_checkpoint, rotate_checkpoints

from .devices import let_processes_part


logger = logging.getLogger(__name__)

# Not "checkpoint-...": neither transformers nor a reader may take an unfinished folder for a checkpoint.
STAGING = "unfinished-checkpoint"


class ExactResumeMixin:
    """Mixin for `transformers.Trainer` subclasses: atomic checkpoints and a forgiving `resume_from_checkpoint=True`.

    `transformers` writes a checkpoint file by file into its final folder, so a kill leaves a folder that looks like the
    newest checkpoint and cannot be loaded. Here it is written under another name and renamed when every process has
    finished its part.
    """

    args: Any
    accelerator: Any
    state: Any
    _staging_dir: str | None = None

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs):
        """Train as `transformers.Trainer.train`; `True` means the newest checkpoint, or the beginning if there is none."""
        if self.args.should_save:
            shutil.rmtree(os.path.join(self.args.output_dir, STAGING), ignore_errors=True)
        self.accelerator.wait_for_everyone()
        if self.accelerator.num_processes > 1:
            let_processes_part()
        if resume_from_checkpoint is True:
            folder = self.args.output_dir
            resume_from_checkpoint = get_last_checkpoint(folder) if os.path.isdir(folder) else None
            if resume_from_checkpoint is None:
                logger.warning("There is no checkpoint in %s yet: training starts from the beginning.", folder)
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)  # type: ignore[misc]

    def _get_output_dir(self, trial) -> str:
        return self._staging_dir or super()._get_output_dir(trial)  # type: ignore[misc]

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        # While staging, the upload would read a folder that is about to be renamed; `_save_checkpoint` calls it after.
        if self._staging_dir is None:
            super()._push_from_checkpoint(checkpoint_folder)  # type: ignore[misc]

    def _save_checkpoint(self, model, trial) -> None:
        run_dir = self._get_output_dir(trial)
        name = f"checkpoint-{self.state.global_step}"
        staged, final = os.path.join(run_dir, STAGING, name), os.path.join(run_dir, name)
        self._staging_dir = os.path.join(run_dir, STAGING)
        try:
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
        finally:
            self._staging_dir = None
        if self.state.best_model_checkpoint == staged:
            self.state.best_model_checkpoint = final
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            self.state.save_to_json(os.path.join(staged, "trainer_state.json"))
            if os.path.isdir(final):  # written again after a resume from an older checkpoint
                os.replace(final, os.path.join(run_dir, STAGING, f"replaced-{name}"))
            os.replace(staged, final)
            shutil.rmtree(os.path.join(run_dir, STAGING), ignore_errors=True)
            rotate_checkpoints(
                output_dir=run_dir,
                save_total_limit=self.args.save_total_limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=False,
            )
        self.accelerator.wait_for_everyone()
        if self.args.push_to_hub:
            self._push_from_checkpoint(final)

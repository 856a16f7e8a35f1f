"""What the tests of the diffusion trainers share: tiny pipelines, and a trainer on one."""

import pytest
import tiny_pipelines


@pytest.fixture
def build(tmp_path):
    """`build(key, pipeline, folder, lora=True, **settings)`: a trainer of `diffusion_dpo` or `seppo` on a new pipeline."""

    def make(key, pipeline="unet-epsilon", folder="run", lora=True, rows=8, eval_rows=0, dtype=None, **given):
        from alignkit.catalog import get

        method = get(key)
        data = tiny_pipelines.pairs if key == "diffusion_dpo" else tiny_pipelines.winners
        defaults = {
            "output_dir": str(tmp_path / folder),
            "per_device_train_batch_size": 2,
            "learning_rate": 1e-3,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "use_cpu": True,
            "disable_tqdm": True,
            "num_inference_steps": 1,
            "num_sample_prompts": 0,
            "latents_dir": str(tmp_path / "encoded"),
        }
        if key == "seppo":
            defaults |= {"steps_per_iteration": 1, "num_iterations": 2}
        made = tiny_pipelines.PIPELINES[pipeline](tmp_path / pipeline)
        if dtype is not None:
            made.to(dtype)
        return method.load_trainer()(
            made,
            method.load_config()(**{**defaults, **given}),
            data(rows),
            eval_dataset=data(eval_rows) if eval_rows else None,
            peft_config=tiny_pipelines.lora(made) if lora else None,
        )

    return make

"""The two ways in which pipelines noise a sample: diffusion (DDPM-like schedulers) and flow matching."""

from typing import Any

import torch

from ...errors import InputError
from ...objectives.diffusion import PREDICTION_TYPES


class NoiseSchedule:
    r"""Which weights noise and sample have at each of the T training times, and what the network is told of the time.

    | scheduler | \( x_t \) | network time | prediction |
    |---|---|---|---|
    | DDPM-like | \( \sqrt{\bar\alpha_t} x + \sqrt{1 - \bar\alpha_t} \epsilon \) | t | its `prediction_type` |
    | flow matching | \( (1 - \sigma) x + \sigma \epsilon \) | \( 1000 \sigma \) | `flow` |

    Attributes:
        alpha, sigma: [T] float32, weight of the sample and of the noise.
        network_times: [T], time input of the network.
        prediction_type: one of `objectives.diffusion.PREDICTION_TYPES`.
    """

    def __init__(self, alpha: torch.Tensor, sigma: torch.Tensor, network_times: torch.Tensor, prediction_type: str):
        self.alpha, self.sigma, self.network_times = alpha.float(), sigma.float(), network_times
        self.prediction_type = prediction_type

    @classmethod
    def of(cls, scheduler: Any) -> "NoiseSchedule":
        """The training schedule of a pipeline's scheduler, whose own state (its sampling steps) is not touched."""
        training = type(scheduler).from_config(scheduler.config)
        if hasattr(training, "alphas_cumprod"):
            prediction_type = training.config.get("prediction_type", "epsilon")
            if prediction_type not in PREDICTION_TYPES:
                raise InputError(
                    f"the scheduler's `prediction_type` is {prediction_type!r}; expected one of "
                    f"{', '.join(PREDICTION_TYPES)}."
                )
            alphas = training.alphas_cumprod.double()
            return cls(alphas.sqrt(), (1 - alphas).sqrt(), torch.arange(len(alphas)), prediction_type)
        if type(scheduler).__name__.startswith("FlowMatch"):
            sigmas = training.sigmas[: training.config.num_train_timesteps].double()
            times = (sigmas * training.config.num_train_timesteps).float()
            return cls(1 - sigmas, sigmas, times, "flow")
        raise InputError(
            f"the scheduler {type(scheduler).__name__} has neither `alphas_cumprod` nor flow-matching sigmas; "
            "use a pipeline with a DDPM-like or FlowMatch scheduler."
        )

    def __len__(self) -> int:
        return len(self.alpha)

    def weights(self, times: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """alpha and sigma at the given indices, two [B] on `device`."""
        return self.alpha[times].to(device), self.sigma[times].to(device)

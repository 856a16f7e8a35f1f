"""The pre-flight of the diffusion methods."""

from .checks import run_diffusion_preflight


__all__ = ["run_diffusion_preflight"]

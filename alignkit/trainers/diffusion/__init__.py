"""Trainers of diffusion models from preferences, on `transformers.Trainer` and diffusers (the extra `diffusion`)."""

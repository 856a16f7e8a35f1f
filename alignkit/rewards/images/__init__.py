"""Image scorers: a rule for the bundled shapes, CLIP score, and PickScore-shaped models."""

from .scorer import SCORERS, ImageScorer, check_prompts, load_scorer, parse_scorer, scorer_identity


__all__ = ["SCORERS", "ImageScorer", "check_prompts", "load_scorer", "parse_scorer", "scorer_identity"]

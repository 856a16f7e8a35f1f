"""Trainers that generate while they train: `trl.GRPOTrainer` made of parts, and the methods as presets of them."""

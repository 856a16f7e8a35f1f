"""Trainers on preference pairs, all on `PreferenceTrainer` (`base.py`), which extends `trl.DPOTrainer`."""

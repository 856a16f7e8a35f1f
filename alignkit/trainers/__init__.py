"""Trainers: subclasses of TRL's, one file per method; `launch` builds and runs one from a configuration."""

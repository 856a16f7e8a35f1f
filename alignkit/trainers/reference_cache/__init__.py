"""Log-probabilities under frozen models: computed once per row of tokens, kept on disk across runs."""

from .fingerprints import module_fingerprint, row_fingerprints, source_fingerprint
from .passes import cached_logps, path_settings, with_reference_logps
from .store import ReferenceStore, default_cache_dir


__all__ = [
    "ReferenceStore",
    "cached_logps",
    "default_cache_dir",
    "module_fingerprint",
    "path_settings",
    "row_fingerprints",
    "source_fingerprint",
    "with_reference_logps",
]

"""Fingerprints of configurations and texts."""

import hashlib
import json
from typing import Any


def digest(value: Any) -> str:
    """12 hex digits that name a configuration."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def text_hash(text: str | bytes) -> str:
    """16 hex digits that name a text."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return hashlib.sha256(raw).hexdigest()[:16]

"""Abdominal CTs imagined from label maps: real anatomy in many builds, contrast phases and scanners."""
from __future__ import annotations

from .bodies import Body
from .scan import abdomen

__all__ = ["Body", "abdomen"]

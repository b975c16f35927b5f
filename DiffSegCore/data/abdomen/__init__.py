"""Abdominal CTs imagined from label maps or from labelled MR: real anatomy in many builds, contrast phases and scanners."""
from __future__ import annotations

from .bodies import Body
from .recolouring import recoloured, rephased
from .scan import abdomen

__all__ = ["Body", "abdomen", "recoloured", "rephased"]

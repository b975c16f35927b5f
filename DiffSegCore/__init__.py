"""DiffSeg's segmentation core. Names below load what they need on first use, so `import DiffSegCore` is instant."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .registry import load_model as load_model
    from .reading import read_labels as read_labels, read_volume as read_volume
    from .segmenter import Segmenter as Segmenter
    from .session import RefinementSession as RefinementSession
    from .volume import LabelMap as LabelMap, Volume as Volume
    from .writing import write_labels as write_labels, write_volume as write_volume

__version__ = "0.1.0"

_HOMES = {
    "Volume": "volume",
    "LabelMap": "volume",
    "read_volume": "reading",
    "read_labels": "reading",
    "write_labels": "writing",
    "write_volume": "writing",
    "load_model": "registry",
    "Segmenter": "segmenter",
    "RefinementSession": "session",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

"""The error catalogue: what went wrong, in a sentence, and what to do; and the report that a user may copy."""

from __future__ import annotations

import platform
from typing import Any, Mapping

from slicer.i18n import tr as _

KINDS = ("Note", "BadInput", "OutOfMemory", "Crash", "Busy", "Cancelled", "Setup", "Unexpected")


def sentence(kind: str, text: str) -> str:
    """What to show: the worker's or the logic's own sentence, which says the way out; else what there is to say of the kind."""
    return text.strip() or {
        "Note": "",
        "BadInput": _("That cannot be done with this volume or segmentation."),
        "OutOfMemory": _("There was not enough memory. Choose the device Processor, close other programs, or crop the volume. Nothing was changed."),
        "Crash": _("The worker stopped and was started again; your prompts are kept and nothing was changed. If it happens again, copy the report."),
        "Busy": _("The worker is still busy: wait until it is done, or press Cancel."),
        "Cancelled": _("Stopped. Nothing was changed."),
        "Setup": _("Something that DiffSeg needs is missing: open Setup below."),
        "Unexpected": _("Something went wrong that should not. Nothing was changed; copy the report and ask in the forum."),
    }[kind if kind in KINDS else "Unexpected"]


def report(kind: str, text: str, facts: Mapping[str, Any]) -> str:
    """Versions, device and sizes for a question in the forum. Names of nodes, files and patients are left out by whoever gives `facts`."""
    import slicer

    lines = {
        "DiffSeg": _version(), "3D Slicer": slicer.app.applicationVersion, "System": platform.platform(terse=True),
        "Slicer's Python": platform.python_version(), **facts, "Error": f"{kind}: {text}",
    }
    return "\n".join(f"{name}: {value}" for name, value in lines.items())


def _version() -> str:
    from .CorePath import ensureCore

    ensureCore()
    import DiffSegCore

    return DiffSegCore.__version__

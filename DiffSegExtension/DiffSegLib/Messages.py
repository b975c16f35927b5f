"""The error catalogue: what went wrong, in a sentence, and what to do; and the report that a user may copy."""

from __future__ import annotations

import platform
from typing import Any, Mapping

from slicer.i18n import tr as _

KINDS = ("Note", "BadInput", "OutOfMemory", "Crash", "Busy", "Cancelled", "Setup", "Unexpected")


def advice(kind: str) -> str:
    """What a user can do about an error of this kind; docs/Troubleshooting.md has the same kinds as headings."""
    return {
        "Note": "",
        "BadInput": "",
        "OutOfMemory": _("Choose the device Processor, close other programs, or crop the volume (module Crop Volume). Nothing was changed."),
        "Crash": _("The worker was started again and your prompts are kept. Nothing was changed. If it happens again, copy the report."),
        "Busy": _("Wait until it is done, or press Cancel."),
        "Cancelled": _("Nothing was changed."),
        "Setup": _("Open Setup below: it shows what is missing."),
        "Unexpected": _("Nothing was changed. Copy the report and ask in the forum."),
    }[kind if kind in KINDS else "Unexpected"]


def sentence(kind: str, text: str) -> str:
    """The message to show: the worker's own sentence, then what to do."""
    plain = {"OutOfMemory": _("There is not enough memory for this."), "Crash": _("The worker stopped unexpectedly."),
             "Busy": _("The worker is still busy."), "Cancelled": _("Stopped."),
             "Unexpected": _("Something went wrong that should not.")}.get(kind, "")
    return " ".join(part for part in (text.strip() or plain, advice(kind)) if part)


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

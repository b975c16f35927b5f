"""Where to look next, and how unsure the model is: questions to the worker that change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .Task import Asked, Chain


@dataclass(frozen=True)
class Place:
    """Where to look next: `ras` in world mm, the segment, and why."""

    ras: tuple[float, float, float]
    segmentId: str
    reason: str
    score: float


def nextPlace(session: Any, segmentId: str = "") -> Chain:
    """The result is a Place, or None where the samples agree everywhere; of one segment, or of all."""
    yield from session.ready()
    answer, _ = yield Asked(session.ask("next_place", {"label": session.mirror.labelIds.get(segmentId)}))
    if session.closed or answer["ras"] is None:
        return None
    ras = tuple(session.mirror.frame.toWorld(answer["ras"]).tolist())
    return Place(ras, session.mirror.segmentIds.get(answer["label"], ""), answer["reason"], answer["score"])


def uncertainty(session: Any, segmentId: str, overlay: Any) -> Chain:
    """The result is the volume node that shows it."""
    yield from session.ready(segmentId)
    _, arrays = yield Asked(session.ask("uncertainty", {"label": session.mirror.labelIds[segmentId]}))
    session.checkOpen()
    return overlay.show(session.mirror.frame, arrays["entropy"])

"""A logic that answers at once or when told, for the window's states; what it was asked is in `calls`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable


@dataclass
class Row:
    segmentId: str
    name: str
    color: tuple[float, float, float]
    ml: float
    range: tuple[float, float] | None = None
    confidence: float | None = None
    checked: bool = False
    mean: float | None = None
    diameterMm: float | None = None
    automaticMl: float | None = None
    rangeRate: float | None = None


@dataclass
class Pending:
    addedMl: float
    removedMl: float


@dataclass
class Place:
    ras: tuple[float, float, float]
    segmentId: str
    reason: str


class FakeTask:
    """Ends when the test says so."""

    def __init__(self, onProgress: Callable[..., Any], onDone: Callable[..., Any], onError: Callable[..., Any]) -> None:
        self.progress, self.done, self.error = onProgress, onDone, onError
        self.cancelled = False

    def poll(self) -> bool:
        return False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class FakeLogic:
    rows: list[Row] = field(default_factory=list)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    task: FakeTask | None = None
    pending: Pending | None = None
    canUndo: bool = False
    canRedo: bool = False
    lockOthers: bool = True
    given: list[dict[str, Any]] = field(default_factory=list)
    check: tuple[str, str] = ("green", "CT, 0.8 x 0.8 x 1.5 mm, head and neck: suitable.")
    closed: bool = False
    warnings: tuple[str, ...] = ()
    clickModel: str | None = None
    device: str = "auto"

    def inputCheck(self, volume: Any, learntFrom: str = "") -> tuple[str, str]:
        return self.check

    def beginSession(self, volume: Any, segmentation: Any) -> None:
        self.calls.append(("beginSession", volume, segmentation))

    def organs(self) -> list[Row]:
        return self.rows

    def measure(self) -> list[Row]:
        return self.rows

    def prompts(self) -> list[dict[str, Any]]:
        return self.given

    def setChecked(self, segment: str, checked: bool) -> None:
        next(row for row in self.rows if row.segmentId == segment).checked = checked

    def segment(self, volume: Any, segmentation: Any, model: str, device: str, *calls: Any) -> FakeTask:
        return self._task("segment", (model, device), calls)

    def prompt(self, stroke: Any, segment: str, *calls: Any) -> FakeTask:
        return self._task("prompt", (stroke, segment), calls)

    def removePrompt(self, number: int, *calls: Any) -> FakeTask:
        return self._task("removePrompt", (number,), calls)

    def nextPlace(self, *calls: Any) -> FakeTask:
        return self._task("nextPlace", (), calls)

    def showUncertainty(self, segment: str, *calls: Any) -> FakeTask:
        return self._task("showUncertainty", (segment,), calls)

    def hideUncertainty(self) -> None:
        self.calls.append(("hideUncertainty",))

    def export(self, folder: str, formats: tuple[str, ...], *calls: Any) -> FakeTask:
        return self._task("export", (folder, formats), calls)

    def accept(self) -> None:
        self.calls.append(("accept",))
        self.pending, self.canUndo = None, True

    def reject(self) -> None:
        self.calls.append(("reject",))
        self.pending = None

    def undo(self) -> None:
        self.canUndo, self.canRedo = False, True

    def redo(self) -> None:
        self.canUndo, self.canRedo = True, False

    def useWorker(self, python: str, environment: dict[str, str]) -> None:
        self.calls.append(("useWorker", python))

    def close(self) -> None:
        self.closed = True

    def _task(self, name: str, values: tuple[Any, ...], calls: tuple[Any, ...]) -> FakeTask:
        self.calls.append((name, *values))
        self.task = FakeTask(*calls)
        return self.task

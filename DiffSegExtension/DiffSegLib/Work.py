"""What the worker is doing, in the window: stages, time left, Cancel, and what to say when it fails."""

from __future__ import annotations

import logging
import time
from typing import Any, Callable, Mapping

import qt
import slicer
from slicer.i18n import tr as _

from . import Messages

_TICK_MS = 25
_SHORT_S = 0.7  # what takes no longer needs no bar
_log = logging.getLogger(__name__)


class Work:
    """At most one task at a time; `run` starts it and polls it from a timer, so the window stays usable."""

    def __init__(self, ui: Any, facts: Callable[[], Mapping[str, Any]]) -> None:
        self.ui, self._facts = ui, facts
        self.onChange: Callable[[], None] = lambda: None
        self.isReady: Callable[[], bool] = lambda: True  # asked before a task starts
        self._task: Any = None
        self._onFail: Callable[[], None] = lambda: None
        self._started, self._barFrom, self._problem = 0.0, 0.0, ("", "")
        self._timer = qt.QTimer()
        self._timer.setInterval(_TICK_MS)
        self._timer.connect("timeout()", self._onTick)
        ui.cancelButton.connect("clicked(bool)", self._onCancel)
        ui.copyReportButton.connect("clicked(bool)", self._onCopyReport)
        ui.dismissButton.connect("clicked(bool)", self._onDismiss)
        ui.progressRow.visible = ui.messageRow.visible = False

    def close(self) -> None:
        self.cancel()
        self._timer.stop()
        self._task = None
        self._timer.disconnect("timeout()", self._onTick)
        self.ui.cancelButton.disconnect("clicked(bool)", self._onCancel)
        self.ui.copyReportButton.disconnect("clicked(bool)", self._onCopyReport)
        self.ui.dismissButton.disconnect("clicked(bool)", self._onDismiss)

    @property
    def busy(self) -> bool:
        return self._task is not None

    def run(self, start: Callable[..., Any], onDone: Callable[[Any], None], *, bar: bool = True, onFail: Callable[[], None] = lambda: None) -> bool:
        """Start `start(onProgress, onDone, onError)`, a call of the logic; False where another task is running or something is missing.

        bar: show the progress bar at once; a click is too short for one, unless the worker has to be started or to read the volume first.
        onFail: called after an error or Cancel was told to the user.
        """
        if self.busy:
            self.say("Busy", "")
            return False
        if not self.isReady():
            self.say("Setup", "")
            return False
        self.ui.messageRow.visible = False
        self._started, self._barFrom, self._onFail = time.monotonic(), 0.0 if bar else _SHORT_S, onFail
        self._show(0.0, "")
        self._task = _STARTING  # a task that ends within `start` has ended when `start` returns
        try:
            task = start(self._onProgress, lambda result: self._end(onDone, result), self._onError)
        except Exception as error:
            self._onError(error)
            return False
        if self._task is _STARTING:
            self._task = task
            self._timer.start()
        self.onChange()
        return True

    def cancel(self) -> None:
        if self.busy and self._task is not _STARTING:
            self._task.cancel()

    def say(self, kind: str, text: str) -> None:
        """Show a message of the catalogue until it is closed or the next task starts."""
        self._problem = (kind, text)
        self.ui.messageLabel.text = Messages.sentence(kind, text)
        self.ui.messageRow.visible = True
        # A stop that was asked for, or a wrong click, is no matter for a report.
        self.ui.copyReportButton.visible = kind not in ("Note", "Cancelled", "Busy", "BadInput")

    def _onTick(self) -> None:
        if self._task is not None:
            self._task.poll()

    def _onProgress(self, fraction: float, stage: str) -> None:
        self._show(fraction, stage)

    def _show(self, fraction: float, stage: str) -> None:
        elapsed = time.monotonic() - self._started
        self.ui.progressBar.value = round(1000 * fraction)
        self.ui.stageLabel.text = stage + timeLeft(fraction, elapsed)
        self.ui.progressRow.visible = elapsed >= self._barFrom

    def _end(self, onDone: Callable[[Any], None], result: Any) -> None:
        self._stop()
        onDone(result)
        self.onChange()

    def _onError(self, error: Any) -> None:
        self._stop()
        kind = getattr(error, "kind", "Unexpected")
        if kind == "Unexpected":
            _log.error("A task failed", exc_info=error)  # for Slicer's error log; a user needs a sentence
        self.say(kind, "" if kind == "Unexpected" else str(error))
        self._onFail()
        self.onChange()

    def _stop(self) -> None:
        self._task = None
        self._timer.stop()
        self.ui.progressRow.visible = False

    def _onCancel(self, _checked: bool) -> None:
        self.ui.stageLabel.text = _("Stopping ...")
        self.cancel()

    def _onCopyReport(self, _checked: bool) -> None:
        slicer.app.clipboard().setText(Messages.report(*self._problem, self._facts()))

    def _onDismiss(self, _checked: bool) -> None:
        self.ui.messageRow.visible = False


_STARTING = object()


def timeLeft(fraction: float, elapsed: float) -> str:
    """", about 40 s left" once enough is done to tell: a tenth, and two seconds of it."""
    if fraction < 0.1 or elapsed < 2 or fraction >= 1:
        return ""
    left = elapsed * (1 - fraction) / fraction
    return _(", about {minutes} min left").format(minutes=round(left / 60)) if left > 90 else _(", about {seconds} s left").format(
        seconds=max(5 * round(left / 5), 5))

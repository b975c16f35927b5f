"""One volume and one segmentation being corrected: prompts, their preview, accepting, undo and redo, in scene and worker alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from DiffSegCore.errors import BadInput
from DiffSegCore.service import Failure

from . import SceneBridge, SessionState
from .Mirror import Mirror
from .Preview import Preview, PreviewNode
from .Prompts import Places, PromptMarkups, regionOf
from .Segmenting import Segmented
from .SegmentWriter import SegmentWriter
from .Steps import Steps
from .Task import Asked, Chain

_ELSEWHERE = "The segmentation was changed elsewhere meanwhile, so the preview was dropped; click again."
_GONE = "The volume or the segmentation is not there any more; the answer was dropped."


class Session:
    """Made by Logic; `owner` gives `ask`, `scene`, `lockOthers`, `locked`, `region`, `clickModel`, `device`, `later`."""

    def __init__(self, owner: Any, volumeNode: Any, segmentationNode: Any) -> None:
        self.owner, self.volumeNode, self.segmentationNode = owner, volumeNode, segmentationNode
        self.closed, self.pending = False, None
        self.mirror = Mirror(self.ask, volumeNode, segmentationNode)
        self._model: tuple[str | None, str] = (None, "auto")  # which one the worker answers clicks with, and where
        self._steps = Steps(self.mirror)
        self._preview, self._markups = PreviewNode(owner.scene), PromptMarkups(owner.scene)
        self._writer = SegmentWriter(segmentationNode, volumeNode)

    def isOf(self, volumeNode: Any, segmentationNode: Any) -> bool:
        return not self.closed and self.volumeNode is volumeNode and self.segmentationNode is segmentationNode

    @property
    def canUndo(self) -> bool:
        return bool(self._steps.waiting) or self._steps.canUndo

    @property
    def canRedo(self) -> bool:
        return self._steps.canRedo

    @property
    def stateNode(self) -> Any:
        return SessionState.find(self.owner.scene, self.volumeNode, self.segmentationNode)

    def prompts(self) -> list[dict[str, Any]]:
        segments = self.mirror.segmentIds
        return [{**each, "segmentId": segments.get(each["label"], ""), "name": self._nameOf(segments.get(each["label"], ""))} for each in self._steps.prompts]

    def begun(self, segmented: Segmented) -> None:
        """The worker has just segmented the volume, and the scene has the result."""
        self._forgetSteps()
        self.mirror.begun(segmented)
        SessionState.forget(self.owner.scene, self.volumeNode, self.segmentationNode)

    def ready(self, segmentId: str = "", clicking: bool = True) -> Chain:
        """The worker in step with the scene; where segments overlap, the voxels they share count as this one's.

        clicking: with the chosen model for clicks, which need not be there for anything else.
        """
        self.mirror.hear()
        if clicking and self._model != (self.owner.clickModel, self.owner.device):
            yield from self._chooseModel()
        if self.mirror.isStale:
            SceneBridge.prepare(self.segmentationNode, self.volumeNode)
            self._forgetSteps()
            saved = SessionState.load(self.stateNode)
            if (yield from self.mirror.start(saved, segmentId)):
                self._steps.prompts = saved.prompts
            self._show()
        elif self.mirror.sceneChanged or segmentId and (segmentId not in self.mirror.labelIds or self.mirror.labels.overlapping):
            if (yield from self.mirror.catchUp(segmentId, self._steps.waiting)):
                self._forgetSteps()
                SessionState.forget(self.owner.scene, self.volumeNode, self.segmentationNode)

    def keep(self) -> None:
        """Put the session into the scene, from where it goes on after saving and opening, or with another worker.

        Slicer says nothing before it saves a scene, so this follows every step. Without prompts there is nothing to keep.
        """
        if self.closed or self.mirror.isStale:
            return
        accepted, waiting = self._steps.accepted, self._steps.waiting
        appended = all(len(patch.promptsAfter) > len(patch.promptsBefore) for patch in waiting)  # a pending removal would not be undone so
        kept = self.mirror.saved() if accepted and appended and not self.mirror.sceneChanged else None
        if kept is None:
            SessionState.forget(self.owner.scene, self.volumeNode, self.segmentationNode)
        else:
            SessionState.save(self.owner.scene, self.volumeNode, self.segmentationNode,
                              SessionState.Saved(self.mirror.frame.localToSession, self.mirror.labelIds, accepted, len(waiting), kept))

    def lost(self) -> None:
        """The worker is another one: it is told everything with the next call. What was not accepted is gone."""
        self._forgetSteps()
        self.mirror.lost()
        self._model = (None, "auto")

    def close(self) -> None:
        """Nothing of it stays in the scene but what was accepted."""
        self.closed = True
        self._preview.hide()
        self._markups.hide()
        self._writer.close()

    def prompting(self, places: Places, segmentId: str) -> Chain:
        """The result is the pending Preview, earlier pending clicks included."""
        if self.segmentationNode.GetSegmentation().GetSegment(segmentId) is None:
            raise BadInput("The segment is not there any more; choose one in the list.")
        yield from self.ready(segmentId)
        prompt = places.prompt(self.mirror.frame, self.mirror.labelIds[segmentId], 0)
        limits = {"locked": self._locked(segmentId), "region": regionOf(self.owner.region, self.mirror.frame)}
        edit, labels = yield from self._edit("prompt", {"prompt": prompt, **limits})
        self._steps.take(edit, labels, (*self._steps.prompts, {**prompt, **limits, "number": edit["number"]}))
        return self._show()

    def removing(self, number: int) -> Chain:
        """Without pending clicks the scene changes at once; with them, the removal is shown with them."""
        yield from self.ready()
        if number not in [each["number"] for each in self._steps.prompts]:
            raise BadInput(f"There is no prompt {number} any more; choose one in the list.")
        edit, labels = yield from self._edit("remove", {"number": number})
        direct = not self._steps.waiting
        self._steps.take(edit, labels, tuple(each for each in self._steps.prompts if each["number"] != number))
        preview = self._show()
        if direct:
            self.accept()
        return preview

    def addSegment(self, name: str) -> str:
        """Its id; empty, until something is drawn into it."""
        return self.segmentationNode.GetSegmentation().AddEmptySegment("", name)

    def accept(self) -> bool:
        """Write what waits, as one undo step; whether anything did. BadInput, and it is dropped, where the segmentation was changed elsewhere."""
        if not self._steps.waiting:
            return False
        if self.mirror.differs(self._steps.waiting):
            self.reject()
            raise BadInput(_ELSEWHERE)
        self._write()
        self._steps.accept()
        self._wrote()
        return True

    def reject(self) -> bool:
        if not self._steps.waiting:
            return False
        while self._steps.waiting:
            self._steps.dropLast()
        self._show()
        return True

    def undo(self) -> bool:
        if self._steps.waiting:
            self._steps.dropLast()
            self._show()
            return True
        if not self._steps.canUndo or self._outOfStep() or not self._writer.undo():
            return False
        self._steps.undo()
        self._wrote()
        return True

    def redo(self) -> bool:
        if not self._steps.canRedo or self._outOfStep() or not self._writer.redo():
            return False
        self._steps.redo()
        self._wrote()
        return True

    def _chooseModel(self) -> Chain:
        """Another click model: what the one before did is taken as it is."""
        model, device = self.owner.clickModel, self.owner.device
        self.reject()
        yield Asked(self.ask("click_model", {"model": model, "device": device}))
        self._forgetSteps()
        self._model = (model, device)

    def ask(self, name: str, arguments: Any = None, arrays: Any = None) -> Any:
        """A call of the worker, for a chain to yield."""
        self.checkOpen()
        return self.owner.ask(name, arguments, arrays)

    def checkOpen(self) -> None:
        """Raises Failure where the session ended while something was asked: the answer has nowhere to go."""
        if self.closed:
            raise Failure("Cancelled", _GONE)

    def _edit(self, name: str, arguments: dict[str, Any]) -> Chain:
        """An answer that changes labels; if the scene was changed while it was worked out, the worker takes it back."""
        answer, arrays = yield Asked(self.ask(name, arguments))
        self.checkOpen()
        if self.mirror.isStale or self.mirror.differs(self._steps.waiting):
            self.mirror.tell("undo")
            raise BadInput(_ELSEWHERE)
        return answer["edit"], arrays["labels"]

    def _locked(self, segmentId: str) -> list[int] | None:
        """Labels that keep their voxels, None for all others; those of checked segments always do."""
        if self.owner.lockOthers:
            return None
        kept = (segment in self.owner.locked or SceneBridge.isChecked(self.segmentationNode, segment) for segment in self.mirror.labelIds)
        return sorted(label for (segment, label), keep in zip(self.mirror.labelIds.items(), kept) if keep and segment != segmentId)

    def _write(self) -> None:
        to = self.mirror.frame.geometry.to_index
        points = [(each["label"], each["inside"], to(each["ras"])) for each in self._steps.new if each["kind"] == "point"]
        changes = self._steps.difference.changes(self.mirror.segmentIds, points)
        changing = {change.segmentId for change in changes}
        self._writer.write(changes, locked=set(self.mirror.labelIds) - changing)

    def _wrote(self) -> None:
        """The scene was changed by us: remember how it looks."""
        self.mirror.sceneIsOurs()
        self.owner.later(self.keep)
        self._show()

    def _show(self) -> Preview | None:
        """The preview and the prompts as they are now."""
        self.pending = None
        if self._steps.waiting:
            difference, voxelMl = self._steps.difference, abs(np.linalg.det(self.mirror.frame.geometry.ijk_to_ras[:3, :3])) / 1000
            numbers = tuple(each["number"] for each in self._steps.new)
            self.pending = Preview(float(difference.added.sum() * voxelMl), float(difference.removed.sum() * voxelMl), numbers)
            self._preview.show(self.volumeNode, self.mirror.frame.local, difference)
        else:
            self._preview.hide()
        self._markups.show(self._steps.prompts, self.mirror.frame)
        return self.pending

    def _forgetSteps(self) -> None:
        self._steps.forget()
        self.pending = None
        self._preview.hide()
        self._markups.hide()
        self._writer.forget()

    def _outOfStep(self) -> bool:
        """Whether somebody else changed the segmentation: our undo would take their work back, so there is none any more."""
        changed = self.mirror.differs(())
        if changed:
            self._steps.forgetAccepted()
            self._writer.forget()
        return changed

    def _nameOf(self, segmentId: str) -> str:
        segment = self.segmentationNode.GetSegmentation().GetSegment(segmentId)
        return segment.GetName() if segment else ""

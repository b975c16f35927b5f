"""What the worker has been told: the volume's frame and the label map, kept in step with the scene whoever changes it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from DiffSegCore.service import Failure

from . import SceneBridge
from .Edits import Patch
from .SceneBridge import SceneLabels
from .Segmenting import Segmented, sendVolume, volumeState
from .SessionState import Saved
from .Task import Asked, Chain
from .VolumeFrame import VolumeFrame


_PATIENCE_S = 3.0  # for the worker to write its session


class Mirror:
    """`labels` are the worker's, clicks that are not accepted included; `frame` is None until it was told of the volume."""

    def __init__(self, ask: Any, volumeNode: Any, segmentationNode: Any) -> None:
        self._ask, self._volumeNode, self._segmentationNode = ask, volumeNode, segmentationNode
        self.frame: VolumeFrame | None = None
        self.labels: SceneLabels | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="diffseg-")
        self._told: list[Any] = []  # calls whose answers nobody waits for
        self._sceneState: tuple[Any, ...] | None = None
        self._volumeState: tuple[Any, ...] | None = None

    @property
    def ids(self) -> np.ndarray:
        return self.labels.ids

    @property
    def labelIds(self) -> dict[str, int]:
        """Segment id -> label id."""
        return dict(self.labels.segments) if self.labels else {}

    @property
    def segmentIds(self) -> dict[int, str]:
        return {label: segment for segment, label in self.labelIds.items()}

    @property
    def isStale(self) -> bool:
        """Whether the worker knows nothing of the volume as it is now."""
        return self.frame is None or self._volumeState != volumeState(self._volumeNode)

    @property
    def sceneChanged(self) -> bool:
        """Whether somebody else changed a voxel of the segmentation since `sceneIsOurs`."""
        return self._sceneState != SceneBridge.signature(self._segmentationNode)

    def differs(self, pending: Sequence[Patch]) -> bool:
        """Whether the segmentation shows other voxels than ours without the pending patches: saving moves layers about, which is no change."""
        if not self.sceneChanged:
            return False
        labels = self._read(self.labelIds, "")
        same = np.array_equal(labels.ids, self._without(pending)) and labels.segments == self.labels.segments
        if same:
            self.sceneIsOurs()
        return not same

    def sceneIsOurs(self) -> None:
        """The scene now is as this mirror says, apart from what is pending."""
        self._sceneState = SceneBridge.signature(self._segmentationNode)

    def start(self, saved: Saved | None, last: str) -> Chain:
        """Give the worker volume and labels; the result is whether it took the saved session up again."""
        self.frame = VolumeFrame.of(self._volumeNode, saved.localToSession if saved else None)
        self.labels = self._read(saved.labelIds if saved else self.labelIds, last)
        before = volumeState(self._volumeNode)
        yield Asked(self._send(), 0.0, 0.8)
        resumed = saved is not None and (yield from self._resumed(saved))
        if saved is not None and not resumed:  # what the scene shows is right, and the saved session is history
            yield Asked(self._send(), 0.9, 1.0)
        self._volumeState = before
        self.sceneIsOurs()
        return resumed

    def saved(self) -> bytes | None:
        """The worker's session as a file; waits for it a little. None where the worker is busy or gone."""
        path = Path(self._folder.name) / "kept"
        try:
            self._ask("save", {"path": str(path)}).result(_PATIENCE_S)
            return path.read_bytes()
        except (Failure, TimeoutError, OSError):
            return None

    def begun(self, segmented: Segmented) -> None:
        """The worker has just segmented the volume: it has those labels, and hears of segments that were there before."""
        self.frame, self._volumeState, self._told = segmented.frame, segmented.volumeState, []
        self.labels = self._read(segmented.labelIds, "")
        if not np.array_equal(self.ids, segmented.ids):
            self.tell("labels", *self._toSend())
        self.sceneIsOurs()

    def catchUp(self, last: str, pending: Sequence[Patch]) -> Chain:
        """Tell the worker of what somebody else changed; the result is whether it begins anew: it does unless only empty segments came."""
        labels = self._read(self.labelIds, last)
        anew = not np.array_equal(labels.ids, self._without(pending))
        if anew:
            self.labels = labels
            yield Asked(self._ask("labels", *self._toSend()))
        else:
            for segment in [each for each in labels.segments if each not in self.labelIds]:
                yield from self._add(segment, labels.names[labels.segments[segment]])
        self.sceneIsOurs()
        return anew

    def _add(self, segment: str, name: str) -> Chain:
        """A label for a segment that is new and empty; its number is the worker's choice."""
        taken = set(self.labels.names.values())
        unique = next(each for each in (name, *(f"{name} {n}" for n in range(2, 999))) if each not in taken)
        answer, _ = yield Asked(self._ask("add_label", {"name": unique}))
        label = answer["label"]
        ids = self.ids.astype(np.uint16) if label > np.iinfo(self.ids.dtype).max else self.ids
        self.labels = SceneLabels(ids, {**self.labels.segments, segment: label}, {**self.labels.names, label: unique}, self.labels.overlapping)

    def tell(self, name: str, arguments: Mapping[str, Any] | None = None, arrays: Mapping[str, np.ndarray] | None = None) -> None:
        """A call whose answer is known already; the worker answers in order, so the next one finds it done."""
        self._told.append(self._ask(name, arguments, arrays))

    def hear(self) -> None:
        """If something that was told went wrong, the worker is told everything again at the next call."""
        told, self._told = self._told, []
        try:
            for call in told:
                if call.poll().done:
                    call.result()
                else:
                    self._told.append(call)
        except Failure:
            self.lost()

    def lost(self) -> None:
        self.frame, self._told = None, []

    def _without(self, pending: Sequence[Patch]) -> np.ndarray:
        ids = self.ids.copy()
        for patch in reversed(pending):
            patch.revert(ids)
        return ids

    def _read(self, known: Mapping[str, int], last: str) -> SceneLabels:
        return SceneBridge.labelsOf(self._segmentationNode, self._volumeNode, known=known, last=last)

    def _toSend(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"names": {str(id): name for id, name in self.labels.names.items()}}, {"labels": self.ids}

    def _send(self) -> Any:
        return sendVolume(self._ask, self.frame, self.ids, self.labels.names)

    def _resumed(self, saved: Saved) -> Chain:
        """Whether the saved session leads to what the scene shows: somebody may have changed it since."""
        path = Path(self._folder.name) / "resumed"  # kept: a worker that is started again reads it again
        path.write_bytes(saved.file)
        try:
            yield Asked(self._ask("restore", {"path": str(path)}), 0.8, 0.9)
            for _ in range(saved.pending):
                yield Asked(self._ask("undo"), 0.9, 0.9)
            _, arrays = yield Asked(self._ask("current"), 0.9, 1.0)
        except Failure as failure:
            if failure.kind != "BadInput":
                raise
            return False
        return np.array_equal(arrays["labels"], self.ids)

"""What the module's buttons do, without a window: each is one call here, and a headless run makes the same call.

Whatever asks the worker returns a Task and takes `onProgress(fraction, stage)`, `onDone(result)`, `onError(Failure)`; poll it from a
timer, or `wait()` in a script. Whatever touches the scene only is done when the call returns. Errors are BadInput or Failure, with a
sentence for the user; after one, the scene is as it was.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping, Sequence

from DiffSegCore.service import Failure, Service

from . import Exporting, InputCheck, Looking, Measuring, SceneBridge
from .Organs import OrganList, OrganRow
from .Overlay import Overlay
from .Preview import Preview
from .Prompts import Places
from .SceneWatch import SceneWatch
from .Segmenting import segmenting
from .Session import Session
from .Task import Chain, Task


class Logic:
    """`scene`: slicer.mrmlScene where None. `service`: a Service, or what makes one when it is first needed; inside this process where None.

    lockOthers: whether clicks leave all other segments alone; else only `locked` ones (segment ids), and checked ones always.
    region: a markups ROI node that limits all change, or None. clickModel, device: what answers clicks and where, None for the first
    model that can. warnings: what the model said about the last volume. later: what runs something soon, as a timer does; without it,
    accept, undo and redo wait until the worker has written its session, some tenths of a second for a large CT.
    """

    def __init__(self, scene: Any = None, service: Any = None) -> None:
        import slicer

        self.scene = scene or slicer.mrmlScene
        self.lockOthers, self.locked, self.region = True, set(), None
        self.clickModel, self.device = None, "auto"
        self.later: Callable[[Callable[[], None]], None] = lambda action: action()
        self.warnings: tuple[str, ...] = ()
        self._service, self._makeService = (None, service) if callable(service) else (service, lambda: Service(inside=True))
        self._session: Session | None = None
        self._list, self._overlay = OrganList(), Overlay(self.scene)
        self._watch = SceneWatch(self.scene, self._forget)
        self._tasks: list[Task] = []  # of the session, which end with it

    # the worker

    @property
    def service(self) -> Any:
        if self._service is None:
            self._service = self._makeService()
        return self._service

    def useWorker(self, python: str | None, env: Mapping[str, str] | None) -> None:
        """Another Python for the worker, from the next call on; what was accepted so far stays, in the scene."""
        self._forgetWorker()
        self._makeService = lambda: Service(python=python, env=env)

    def close(self) -> None:
        """Ends the worker, drops a preview, leaves no observer and no temporary node."""
        self._forget()
        self._watch.close()
        if self._service is not None:
            self._service.close()
            self._service = None

    # the automatic result

    def inputCheck(self, volumeNode: Any, learntFrom: str = "") -> tuple[str, str]:
        """("green", "amber" or "red", a sentence), at once and without the worker; learntFrom: the model's modality."""
        return InputCheck.check(volumeNode, learntFrom)

    def segment(self, volumeNode: Any, segmentationNode: Any = None, model: str | None = None, device: str = "auto", *calls: Callable) -> Task:
        """Its result is the segmentation node, made where None was given."""
        return Task(self._segmenting(volumeNode, segmentationNode, model, device), *calls)

    def organs(self) -> list[OrganRow]:
        """The segments of the session, least certain first."""
        if self._session is None:
            return []
        return self._list.rows(self._session.segmentationNode, self._session.mirror.labelIds)

    def setChecked(self, segmentId: str, checked: bool) -> None:
        """A checked segment is Completed in Slicer's words; no click into another segment takes a voxel of it."""
        if self._session is not None:
            SceneBridge.setChecked(self._session.segmentationNode, segmentId, checked)

    # correcting

    def beginSession(self, volumeNode: Any, segmentationNode: Any) -> None:
        """What is corrected from now on. Cheap: the worker hears of it with the first click, or from `prepare`. None for either ends it."""
        if self._session is not None and self._session.isOf(volumeNode, segmentationNode):
            return
        self._forget()
        if volumeNode is not None and segmentationNode is not None:
            self._session = Session(self, volumeNode, segmentationNode)
            self._watch.follow(volumeNode, segmentationNode)

    def prepare(self, *calls: Callable) -> Task:
        """Give the worker volume and labels now, so that the first click is as quick as the others."""
        return self._inSession(lambda session: session.ready(), *calls)

    def click(self, ras: Sequence[float], segmentId: str, inside: bool = True, *calls: Callable) -> Task:
        """`ras`: world millimetres, as the views have them. The result is the pending Preview."""
        return self._prompt(Places("point", (tuple(ras),), inside), segmentId, *calls)

    def scribble(self, ras: Iterable[Sequence[float]], segmentId: str, inside: bool = True, *calls: Callable) -> Task:
        return self._prompt(Places("scribble", tuple(map(tuple, ras)), inside), segmentId, *calls)

    def box(self, corners: Iterable[Sequence[float]], segmentId: str, inside: bool = True, *calls: Callable) -> Task:
        """Two opposite corners."""
        return self._prompt(Places("box", tuple(map(tuple, corners)), inside), segmentId, *calls)

    def lasso(self, ras: Iterable[Sequence[float]], segmentId: str, inside: bool = True, depthMm: float = 0.0, *calls: Callable) -> Task:
        """A closed polygon in a plane; `depthMm` thick, 0 for one layer of voxels."""
        return self._prompt(Places("lasso", tuple(map(tuple, ras)), inside, depthMm), segmentId, *calls)

    def prompt(self, stroke: Any, segmentId: str, *calls: Callable) -> Task:
        """What a view drew: `stroke` has tool (point, scribble, box, lasso), ras, inside."""
        return self._prompt(Places(stroke.tool, tuple(map(tuple, stroke.ras)), stroke.inside), segmentId, *calls)

    def addSegment(self, name: str) -> str:
        """A new empty segment in the session's segmentation; its id."""
        return self._needed().addSegment(name)

    def accept(self) -> bool:
        """Write the pending preview into the scene, one undo step; whether there was one."""
        return self._session is not None and self._session.accept()

    def reject(self) -> bool:
        """Drop the pending preview; the scene never knew of it."""
        return self._session is not None and self._session.reject()

    def undo(self) -> bool:
        """Take the last pending click back, or else the last accepted step, in the scene and in the worker."""
        return self._session is not None and self._session.undo()

    def redo(self) -> bool:
        return self._session is not None and self._session.redo()

    def removePrompt(self, number: int, *calls: Callable) -> Task:
        """Take one prompt away with all that it caused."""
        return self._inSession(lambda session: session.removing(number), *calls)

    @property
    def pending(self) -> Preview | None:
        return self._session.pending if self._session else None

    @property
    def canUndo(self) -> bool:
        return self._session is not None and self._session.canUndo

    @property
    def canRedo(self) -> bool:
        return self._session is not None and self._session.canRedo

    def prompts(self) -> list[dict[str, Any]]:
        """number, kind, inside, segmentId, name, and places in the session's RAS: pending ones too."""
        return self._session.prompts() if self._session else []

    @property
    def sessionNode(self) -> Any:
        """The script node that carries the session through saving and loading of the scene; None before the first accepted click."""
        return self._session.stateNode if self._session else None

    # looking

    def nextPlace(self, *calls: Callable) -> Task:
        """The result is a Place in world RAS, or None where the samples agree everywhere."""
        return self._inSession(Looking.nextPlace, *calls)

    def showUncertainty(self, segmentId: str, *calls: Callable) -> Task:
        """Lays the samples' disagreement over the slices; the result is its volume node."""
        return self._inSession(lambda session: Looking.uncertainty(session, segmentId, self._overlay), *calls)

    def hideUncertainty(self) -> None:
        self._overlay.hide()

    # measuring and exporting

    def measure(self) -> list[Measuring.MeasureRow]:
        """Volumes with the model's range, mean intensity, longest diameter, volume before correction."""
        if self._session is None:
            return []
        return Measuring.rows(self._session.volumeNode, self._session.segmentationNode, self.organs())

    def export(self, folder: str, formats: Sequence[str] = ("seg.nrrd", "nii.gz"), *calls: Callable) -> Task:
        """Writes "seg.nrrd", "nii.gz", "stl", "dicomseg" and a manifest; the result is the manifest's path. All or nothing."""
        return self._inSession(lambda session: Exporting.exporting(session, self.measure(), str(folder), tuple(formats)), *calls)

    # inside

    def ask(self, name: str, arguments: Mapping[str, Any] | None = None, arrays: Mapping[str, Any] | None = None) -> Any:
        return self.service.submit(name, arguments or {}, arrays or {})

    def _prompt(self, places: Places, segmentId: str, *calls: Callable) -> Task:
        return self._inSession(lambda session: session.prompting(places, segmentId), *calls)

    def _inSession(self, chain: Callable[[Session], Chain], *calls: Callable) -> Task:
        def steps() -> Chain:
            return (yield from chain(self._needed()))

        self._tasks = [task for task in self._tasks if not task.done]
        task = Task(steps(), *calls)
        self._tasks.append(task)
        return task

    def _segmenting(self, volumeNode: Any, segmentationNode: Any, model: str | None, device: str) -> Chain:
        result = yield from segmenting(self.ask, self.scene, volumeNode, segmentationNode, model, device)
        self.warnings = result.warnings
        self.beginSession(volumeNode, result.segmentationNode)
        self._session.begun(result)
        return result.segmentationNode

    def _needed(self) -> Session:
        if self._session is None:
            raise Failure("BadInput", "Choose a volume and a segmentation first.")
        return self._session

    def _forget(self) -> None:
        """The session's nodes are gone, or others were chosen: nothing of it may reach the scene any more."""
        self._watch.follow()
        self._overlay.hide()
        self._list = OrganList()
        session, self._session = self._session, None
        if session is not None:
            session.close()
            for task in self._tasks:
                task.cancel()

    def _forgetWorker(self) -> None:
        if self._session is not None:
            self._session.lost()
        if self._service is not None:
            self._service.close()
            self._service = None

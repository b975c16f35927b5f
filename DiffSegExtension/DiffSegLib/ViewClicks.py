"""Mouse strokes in slice views become prompts: a point, a scribble, a box or a lasso, in RAS, that belongs or does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterable

import vtk

_PRIORITY = 10.0  # before the view's own interaction, which would zoom or change window and level
_STILL = 3  # pixels: a hand that trembles still means one place
_EVENTS = ("LeftButtonPressEvent", "RightButtonPressEvent", "LeftButtonDoubleClickEvent", "RightButtonDoubleClickEvent",
           "MouseMoveEvent", "LeftButtonReleaseEvent", "RightButtonReleaseEvent")
_COLORS = {True: (0.2, 0.9, 0.3), False: (1.0, 0.25, 0.2)}


@dataclass(frozen=True)
class View:
    """One slice view: its interactor, its slice node, and the renderer to draw the stroke in (None: draw nothing)."""

    interactor: vtk.vtkRenderWindowInteractor
    sliceNode: object
    renderer: object = None


@dataclass(frozen=True)
class Stroke:
    """What was drawn: RAS places in mm along it (of a box, two opposite corners), and whether they belong."""

    tool: str
    ras: tuple[tuple[float, float, float], ...]
    inside: bool


class ViewClicks:
    """Watches views while a tool is chosen. Left says what `inside` says; right button or Ctrl the opposite; Shift is left to Slicer."""

    def __init__(self, onStroke: Callable[[Stroke], None]) -> None:
        self.inside = True
        self._onStroke = onStroke
        self._tool = ""
        self._tags: list[tuple[View, int]] = []
        self._path: list[tuple[int, int]] = []
        self._belongs, self._doubled = True, False
        self._trace: vtk.vtkActor2D | None = None

    @property
    def tool(self) -> str:
        return self._tool

    def start(self, tool: str, views: Iterable[View]) -> None:
        self.stop()
        self._tool = tool
        for view in views:
            for event in _EVENTS:
                tag = view.interactor.AddObserver(event, lambda _caller, name, view=view: self._onEvent(view, name), _PRIORITY)
                self._tags.append((view, tag))

    def stop(self) -> None:
        for view, tag in self._tags:
            view.interactor.RemoveObserver(tag)
            if self._trace is not None:
                self._draw(view, ())
        self._tags, self._path, self._tool, self._doubled = [], [], "", False

    def _onEvent(self, view: View, event: str) -> None:
        if event.endswith("PressEvent"):
            if view.interactor.GetShiftKey():
                return
            self._belongs = self.inside == (event.startswith("Left") and not view.interactor.GetControlKey())
            self._path = [view.interactor.GetEventPosition()]
        elif event.endswith("DoubleClickEvent"):  # the same place again says nothing new, and Slicer would maximize the view
            self._doubled = True
        elif self._doubled and event.endswith("ReleaseEvent"):
            self._doubled = False
        elif not self._path:
            return
        elif event == "MouseMoveEvent":
            self._path.append(view.interactor.GetEventPosition())
            self._draw(view, self._outline())
        else:
            self._end(view)
        self._keepFromView(view)

    def _end(self, view: View) -> None:
        path, self._path = self._path, []
        self._draw(view, ())
        tool = self._tool if _moved(path) else "point"
        if tool == "point":
            path = path[:1]
        elif tool == "box":
            path = [path[0], path[-1]]
        elif tool == "lasso" and len(path) < 3:
            return
        matrix = view.sliceNode.GetXYToRAS()
        ras = tuple(matrix.MultiplyPoint((x, y, 0.0, 1.0))[:3] for x, y in path)
        if tool == "box":
            ras = _thick(ras, [view.sliceNode.GetSliceToRAS().GetElement(row, 2) for row in range(3)])
        self._onStroke(Stroke(tool, ras, self._belongs))

    def _keepFromView(self, view: View) -> None:
        for other, tag in self._tags:
            if other is view:
                command = view.interactor.GetCommand(tag)
                if command is not None:
                    command.SetAbortFlag(1)

    def _outline(self) -> list[tuple[int, int]]:
        """What to draw so far, in pixels."""
        if self._tool == "box":
            (left, low), (right, high) = self._path[0], self._path[-1]
            return [(left, low), (right, low), (right, high), (left, high), (left, low)]
        if self._tool == "lasso":
            return [*self._path, self._path[0]]
        return self._path if self._tool == "scribble" else []

    def _draw(self, view: View, path: Iterable[tuple[int, int]]) -> None:
        if view.renderer is None:
            return
        if self._trace is not None:
            view.renderer.RemoveViewProp(self._trace)
            self._trace = None
        line = list(path)
        if line:
            self._trace = _lineActor(line, _COLORS[self._belongs])
            view.renderer.AddViewProp(self._trace)
        view.interactor.Render()


def _thick(corners: tuple[tuple[float, ...], ...], normal: list[float]) -> tuple[tuple[float, float, float], ...]:
    """A rectangle drawn on a slice, made a box: as deep as its shorter side, the slice in its middle."""
    first, last = corners
    along = [b - a for a, b in zip(first, last)]
    depth = sorted(map(abs, along))[1]  # of the three differences one is about zero, across the slice
    return tuple(tuple(place + side * depth / 2 * n for place, n in zip(corner, normal)) for corner, side in ((first, -1), (last, 1)))


def _moved(path: list[tuple[int, int]]) -> bool:
    return any(max(abs(x - path[0][0]), abs(y - path[0][1])) > _STILL for x, y in path)


def _lineActor(path: list[tuple[int, int]], color: tuple[float, float, float]) -> vtk.vtkActor2D:
    points, cells, data = vtk.vtkPoints(), vtk.vtkCellArray(), vtk.vtkPolyData()
    cells.InsertNextCell(len(path))
    for x, y in path:
        cells.InsertCellPoint(points.InsertNextPoint(x, y, 0))
    data.SetPoints(points)
    data.SetLines(cells)
    mapper, actor = vtk.vtkPolyDataMapper2D(), vtk.vtkActor2D()
    mapper.SetInputData(data)
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*color)
    actor.GetProperty().SetLineWidth(2)
    return actor


def sliceViews() -> list[View]:
    """The slice views of the present layout; none without a window."""
    import slicer

    manager = slicer.app.layoutManager()
    views = []
    for name in manager.sliceViewNames() if manager is not None else ():
        widget = manager.sliceWidget(name)
        sliceView = widget.sliceView()
        renderer = sliceView.renderWindow().GetRenderers().GetFirstRenderer()
        views.append(View(sliceView.interactor(), widget.mrmlSliceNode(), renderer))
    return views

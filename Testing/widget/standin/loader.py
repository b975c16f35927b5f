"""QUiLoader as Slicer has it: knows ctk and qMRML widgets, and refuses a .ui with a class or property that does not exist."""

from __future__ import annotations

from functools import lru_cache
import xml.etree.ElementTree as xml

from PySide6 import QtCore, QtWidgets
from PySide6.QtUiTools import QUiLoader

from .ctk_widgets import WIDGETS as CTK
from .mrml_widgets import WIDGETS as MRML

OWN = {**CTK, **MRML}


class Loader(QUiLoader):
    def __init__(self) -> None:
        super().__init__()
        for kind in OWN.values():
            self.registerCustomWidget(kind)

    def load(self, file: QtCore.QFile) -> QtWidgets.QWidget:
        check(file.fileName())
        widget = super().load(file)
        connect(widget, file.fileName())
        return widget


def check(path: str) -> None:
    """Raise for a class or a property that the real widgets do not have; QUiLoader itself would be silent."""
    tree = xml.parse(path)
    declared = {each.findtext("class") for each in tree.iter("customwidget")}
    used = {each.get("class") for each in tree.iter("widget")}
    if used & OWN.keys() != declared:
        raise ValueError(f"{path}: custom widgets used {sorted(used & OWN.keys())}, declared {sorted(declared)}")
    for widget in tree.iter("widget"):
        kind = OWN.get(widget.get("class")) or getattr(QtWidgets, widget.get("class"), None)
        if kind is None:
            raise ValueError(f"{path}: there is no widget class {widget.get('class')}")
        for entry in widget.findall("property"):
            if entry.get("name") not in properties(kind):
                raise ValueError(f"{path}: {widget.get('class')} has no property {entry.get('name')!r}")


@lru_cache(maxsize=None)
def properties(kind: type) -> frozenset[str]:
    """Names of a widget class's properties, read from an instance: a Python class's static meta-object does not outlive its first window."""
    widget = kind()
    meta = widget.metaObject()
    return frozenset(meta.property(number).name() for number in range(meta.propertyCount()))


def connect(widget: QtWidgets.QWidget, path: str) -> None:
    """The .ui's own connections: in Slicer they hand the scene to the node selectors."""
    for entry in xml.parse(path).iter("connection"):
        names = {part: entry.findtext(part) for part in ("sender", "signal", "receiver", "slot")}
        sender = widget if names["sender"] == widget.objectName() else widget.findChild(QtWidgets.QWidget, names["sender"])
        receiver = widget.findChild(QtWidgets.QWidget, names["receiver"])
        if sender is None or receiver is None:
            raise ValueError(f"{path}: a connection names {names['sender']} and {names['receiver']}; one is not there")
        if names["signal"].startswith("mrmlSceneChanged"):
            sender.sceneChanged.connect(receiver.setMRMLScene)
        elif type(sender) not in OWN.values() and sender.metaObject().indexOfSignal(names["signal"]) < 0:
            raise ValueError(f"{path}: {names['sender']} has no signal {names['signal']}")

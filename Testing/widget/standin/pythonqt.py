"""Qt as PythonQt shows it: properties are attributes, signals are connected by their signature, and a name that is not there raises.

PythonQt itself only prints most mistakes (a signal that does not exist, an exception in a slot); here each one fails the test.
"""

from __future__ import annotations

import enum
import types
from functools import lru_cache
from typing import Any, Callable, Mapping

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

HOMES = (QtWidgets, QtGui, QtCore)
NOT_IN_QT5 = {"checkStateChanged(Qt::CheckState)", "textActivated(QString)"}  # Slicer 5 has Qt 5.15
_INSTANCES: dict[int, "Instance"] = {}


class Instance:
    """One Qt object. QObjects show properties as attributes; what has none (items, colours, icons) shows its methods."""

    def __init__(self, target: Any) -> None:
        object.__setattr__(self, "target", target)

    def __getattr__(self, name: str) -> Any:
        target = self.target
        if not shiboken6.isValid(target):
            raise ValueError(f"{type(target).__name__}.{name}: the Qt object is deleted")
        if isinstance(target, QtCore.QObject):
            if name in ("name", "objectName"):
                return target.objectName()
            if has_property(target, name):
                return wrap(target.property(name))
        value = getattr(target, name) if name in public(type(target)) else None
        if value is None or isinstance(value, QtCore.SignalInstance):
            raise AttributeError(f"{type(target).__name__} has neither property nor method {name!r}; signals go through connect('{name}(...)')")
        return method(value)

    def __setattr__(self, name: str, value: Any) -> None:
        target = self.target
        if not isinstance(target, QtCore.QObject) or not (has_property(target, name) or name == "name"):
            raise AttributeError(f"{type(target).__name__} has no property {name!r}")
        if not target.setProperty("objectName" if name == "name" else name, unwrap(value)):
            raise TypeError(f"{type(target).__name__}.{name} does not take {value!r}")

    def className(self) -> str:
        return self.target.metaObject().className()

    def connect(self, signal: str, slot: Callable[..., Any]) -> bool:
        emitter = signal_of(self.target, signal)
        receiver = RECEIVERS[arguments(signal)](slot)
        CONNECTIONS.append((self.target, signal, slot, receiver))
        emitter.connect(receiver)
        return True

    def disconnect(self, signal: str, slot: Callable[..., Any]) -> bool:
        for entry in CONNECTIONS:
            if entry[0] is self.target and entry[1] == signal and entry[2] == slot:
                signal_of(self.target, signal).disconnect(entry[3])
                CONNECTIONS.remove(entry)
                return True
        raise ValueError(f"{type(self.target).__name__}: {signal} was not connected to {slot}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instance) and other.target is self.target

    def __hash__(self) -> int:
        return id(self.target)

    def __bool__(self) -> bool:
        return True


# PySide looks at how many values a receiver takes; one that takes any number gets none.
RECEIVERS: tuple[Callable[..., Any], ...] = (
    lambda slot: lambda: slot(),
    lambda slot: lambda value: slot(wrap(value)),
    lambda slot: lambda first, second: slot(wrap(first), wrap(second)),
)
CONNECTIONS: list[tuple[QtCore.QObject, str, Callable[..., Any], Callable[..., Any]]] = []


class Class:
    """One Qt class: called, it makes an instance; its attributes are enumerations and static methods."""

    def __init__(self, target: type) -> None:
        self._target = target

    def __call__(self, *values: Any) -> Any:
        return wrap(self._target(*map(unwrap, values)))

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name, None)
        if isinstance(value, enum.Enum):
            return value
        if isinstance(value, type):
            return Class(value)
        if callable(value):
            return method(value)
        raise AttributeError(f"qt.{self._target.__name__} has no {name!r}")


class Module(types.ModuleType):
    """The module `qt` or `ctk`: classes by name, the stand-ins first."""

    def __init__(self, name: str, own: Mapping[str, Any], homes: tuple[Any, ...] = ()) -> None:
        super().__init__(name)
        self._own, self._homes = own, homes

    def __getattr__(self, name: str) -> Any:
        if name in self._own:
            value = self._own[name]
            return Class(value) if isinstance(value, type) and issubclass(value, QtCore.QObject) else value
        for home in self._homes:
            if isinstance(getattr(home, name, None), type):
                return Class(getattr(home, name))
        raise AttributeError(f"module {self.__name__!r} has no {name!r}")


def has_property(target: QtCore.QObject, name: str) -> bool:
    return target.metaObject().indexOfProperty(name) >= 0


@lru_cache(maxsize=None)
def public(kind: type) -> set[str]:
    """Names a PythonQt user may use: of a stand-in class, what it declares; of a Qt class, all."""
    declared = getattr(kind, "PUBLIC", None)
    return {name for name in dir(kind) if not name.startswith("_")} if declared is None else set(declared) | COMMON


COMMON = {name for name in dir(QtWidgets.QWidget) if not name.startswith("_")}


def signal_of(target: Any, signal: str) -> Any:
    """The bound signal; a signature that this object does not have raises."""
    own = getattr(type(target), "SIGNALS", {})
    if signal in own:
        return getattr(target, own[signal])
    index = target.metaObject().indexOfSignal(QtCore.QMetaObject.normalizedSignature(signal).data().decode())
    if index < 0 or signal in NOT_IN_QT5:
        raise ValueError(f"{type(target).__name__} has no signal {signal}")
    return getattr(target, signal.partition("(")[0])


def arguments(signal: str) -> int:
    kinds = signal.partition("(")[2].rstrip(")")
    return len(kinds.split(",")) if kinds else 0


def wrap(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(wrap, value))
    if not isinstance(value, shiboken6.Shiboken.Object) or isinstance(value, enum.Enum):
        return value
    known = _INSTANCES.get(id(value))
    if known is None or known.target is not value:
        known = _INSTANCES[id(value)] = Instance(value)
    return known


def unwrap(value: Any) -> Any:
    if isinstance(value, Instance):
        return value.target
    if isinstance(value, Class):
        return value._target
    return type(value)(map(unwrap, value)) if isinstance(value, (list, tuple)) else value


def method(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*values: Any) -> Any:
        return wrap(function(*map(unwrap, values)))
    return call


def forget() -> None:
    """Drop what the last test left."""
    CONNECTIONS.clear()
    _INSTANCES.clear()

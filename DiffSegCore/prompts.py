"""What a user says about one label of a volume: points, scribbles, boxes and lassos, as plain values that JSON can hold.

Places are RAS millimetres. A prompt also remembers what it was not allowed to touch, so that replaying it gives what it gave.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Iterable, Mapping

from .errors import BadInput
from .geometry import Box

Ras = tuple[float, float, float]
FLAT_MM2 = 1e-6  # a polygon of less area than this covers nothing


@dataclass(frozen=True)
class Prompt:
    """number: of this prompt in its session, from 1; label: id in the label map; inside: whether the place belongs to it.

    locked: ids whose voxels it leaves alone, None for all labels but its own; region: voxels of the volume that it may change, None for all.
    """

    number: int
    label: int
    inside: bool
    locked: tuple[int, ...] | None = field(default=None, kw_only=True)
    region: Box | None = field(default=None, kw_only=True)
    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for name in ("number", "label"):
            _put(self, name, _whole(getattr(self, name), name))
        _put(self, "inside", bool(self.inside))
        if self.locked is not None:
            _put(self, "locked", tuple(sorted({_whole(each, "locked label") for each in self.locked})))

    @property
    def places(self) -> tuple[Ras, ...]:
        """RAS millimetres of all that was drawn."""
        raise NotImplementedError


@dataclass(frozen=True)
class Point(Prompt):
    ras: Ras
    kind: ClassVar[str] = "point"

    def __post_init__(self) -> None:
        super().__post_init__()
        _put(self, "ras", _place(self.ras))

    @property
    def places(self) -> tuple[Ras, ...]:
        return (self.ras,)


@dataclass(frozen=True)
class Scribble(Prompt):
    """ras: the corners of a line through the volume, one or more."""

    ras: tuple[Ras, ...]
    kind: ClassVar[str] = "scribble"

    def __post_init__(self) -> None:
        super().__post_init__()
        _put(self, "ras", _places(self.ras, "scribble", least=1))

    @property
    def places(self) -> tuple[Ras, ...]:
        return self.ras


@dataclass(frozen=True)
class BoxPrompt(Prompt):
    """corners: two opposite ones of a box whose edges run along R, A and S; it may be flat, in one slice."""

    corners: tuple[Ras, Ras]
    kind: ClassVar[str] = "box"

    def __post_init__(self) -> None:
        super().__post_init__()
        _put(self, "corners", _places(self.corners, "box", least=2))
        sides = [abs(a - b) for a, b in zip(*self.corners[:2])]
        if len(self.corners) != 2 or sum(side > 0 for side in sides) < 2:
            raise BadInput(f"A box has two corners that differ along two axes or more, not {self.corners} mm (RAS).")

    @property
    def places(self) -> tuple[Ras, ...]:
        return self.corners


@dataclass(frozen=True)
class Lasso(Prompt):
    """ras: the corners of a closed polygon in one plane; depth_mm: how thick its slice is, half of it on either side."""

    ras: tuple[Ras, ...]
    depth_mm: float
    kind: ClassVar[str] = "lasso"

    def __post_init__(self) -> None:
        super().__post_init__()
        _put(self, "ras", _places(self.ras, "lasso", least=3))
        _put(self, "depth_mm", _number(self.depth_mm, "depth of a lasso in mm"))
        if self.depth_mm < 0 or math.hypot(*self.area_vector) < FLAT_MM2:
            raise BadInput(f"A lasso goes round an area and has no negative depth; this one covers {math.hypot(*self.area_vector):.3g} mm2, "
                           f"{self.depth_mm:g} mm deep. Draw it again.")

    @property
    def area_vector(self) -> Ras:
        """Along the plane's normal, as long as the polygon's area in mm2 (Newell's method)."""
        middle = self.middle
        at = [tuple(x - m for x, m in zip(corner, middle)) for corner in self.ras]
        crosses = [(a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]) for a, b in zip(at, (*at[1:], at[0]))]
        return tuple(sum(part) / 2 for part in zip(*crosses))

    @property
    def middle(self) -> Ras:
        """Of the corners."""
        return tuple(sum(axis) / len(self.ras) for axis in zip(*self.ras))

    @property
    def places(self) -> tuple[Ras, ...]:
        return self.ras


KINDS: Mapping[str, type[Prompt]] = {each.kind: each for each in (Point, Scribble, BoxPrompt, Lasso)}


def to_json(prompt: Prompt) -> dict[str, Any]:
    """Plain values, for `from_json`."""
    values = {each.name: getattr(prompt, each.name) for each in fields(prompt)}
    region = prompt.region and [list(prompt.region.start), list(prompt.region.stop)]
    return {"kind": prompt.kind, **{name: _listed(value) for name, value in values.items()}, "region": region}


def from_json(values: Mapping[str, Any]) -> Prompt:
    """The prompt that `to_json` described; BadInput says what is missing, unknown or no number."""
    if not isinstance(values, Mapping) or values.get("kind") not in KINDS:
        raise BadInput(f"A prompt is a {', '.join(KINDS)}, not {values.get('kind') if isinstance(values, Mapping) else values!r}.")
    kind, given = KINDS[values["kind"]], {name: value for name, value in values.items() if name != "kind"}
    known = {each.name for each in fields(kind)}
    missing = known - {"locked", "region"} - set(given)
    if missing or set(given) - known:
        raise BadInput(f"A {kind.kind} has the entries {sorted(known)}; missing {sorted(missing)}, unknown {sorted(set(given) - known)}.")
    if given.get("region") is not None:
        given["region"] = _box(given["region"])
    return kind(**given)


def _put(prompt: Prompt, name: str, value: Any) -> None:
    object.__setattr__(prompt, name, value)


def _number(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise BadInput(f"The {what} has to be a finite number, not {value!r}.")
    return number


def _whole(value: Any, what: str) -> int:
    number = _number(value, what)
    if number != int(number) or number < 0:
        raise BadInput(f"The {what} of a prompt is a whole number from 0, not {value!r}.")
    return int(number)


def _place(values: Any) -> Ras:
    try:
        place = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        place = ()
    if len(place) != 3 or not all(map(math.isfinite, place)):
        raise BadInput(f"A place is three finite millimetres (RAS), not {values!r}.")
    return place


def _places(values: Iterable[Any], what: str, least: int) -> tuple[Ras, ...]:
    try:
        places = tuple(map(_place, values))
    except TypeError:
        places = ()
    if len(places) < least:
        raise BadInput(f"A {what} has {least} places or more, this one has {len(places)}.")
    return places


def _box(values: Any) -> Box:
    try:
        start, stop = values
        return Box(tuple(start), tuple(stop))
    except (TypeError, ValueError) as error:
        raise BadInput(f"A region is [start, stop], each of three whole numbers (K, J, I), not {values!r}.") from error


def _listed(value: Any) -> Any:
    return [_listed(each) for each in value] if isinstance(value, tuple) else value

"""Named calls with plain values and arrays, answered from one volume, its models and its session: the whole product behind one door.

The same object answers in a worker process (`service`) and in this one. It shows nothing, prints nothing, and opens no file
that it wasn't told of.
"""
from __future__ import annotations

import inspect
import math
import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np
import torch

from . import __version__
from .choosing import fitting_model
from .click_refining import click_refiner
from .confidence import OrganFound, organs_found
from .errors import BadInput
from .input_check import suits
from .measuring import measured
from .model import Model, describe_model
from .plain_values import box_of, grid_of, label_map, plain_box, plain_grid, plain_measured, plain_names, plain_organ
from .progress import Progress, part, silent
from .prompts import from_json, to_json
from .registry import DEFAULT, find_model, load_click_model, model_rows
from .segmenter import Prediction, Segmenter, usable_device
from .segmentors import ForeignSegmenter, open_segmenter
from .session import Edit, RefinementSession
from .volume import LabelMap, Volume
from .volume_ranges import VolumeRanges

Answer = tuple[dict[str, Any], dict[str, np.ndarray]]
MOST_DOUBTS = 1e9  # bytes of chances kept of an automatic result; beyond, clicks start from its labels alone
CALL = "on_"  # what a method's name begins with when it answers a call


@dataclass(frozen=True, eq=False)
class Desk:
    """What is being worked on. labels: as the session begins, None for none; prediction: what they were taken from, if it was one."""

    volume: Volume
    key: str = ""
    labels: LabelMap | None = None
    prediction: Prediction | None = None
    found: tuple[OrganFound, ...] = ()


class Engine:
    """`call` is all of it; what a call takes and gives is said at the method of its name."""

    def __init__(self) -> None:
        self._desk: Desk | None = None
        self._session: RefinementSession | None = None  # of the desk; None until somebody clicks
        self._clicking: tuple[Model, str] | None = None  # model, device
        self._segmenter: tuple[tuple[Any, ...], Segmenter | ForeignSegmenter] | None = None  # the last one, and what it was made for

    def call(self, name: str, arguments: Mapping[str, Any], arrays: Mapping[str, np.ndarray], progress: Progress = silent) -> Answer:
        """The answer to one call: plain values, and arrays apart. Raises BadInput for what is asked wrongly, MemoryError, and
        whatever `progress` raises; then all is as it was. The image of `set_volume` is used where it lies: it must not change.
        """
        answer = getattr(self, CALL + name, None)
        if answer is None:
            raise BadInput(f"There is no call {name!r}; there are {', '.join(sorted(each[len(CALL):] for each in dir(self) if each.startswith(CALL)))}.")
        try:
            inspect.signature(answer).bind(progress, **arguments, **arrays)
        except TypeError as error:
            raise BadInput(f"The call {name!r} does not fit: {error}.") from error
        return answer(progress, **arguments, **arrays)

    def on_hello(self, progress: Progress) -> Answer:
        return {"version": __version__, "torch": str(torch.__version__), "device": str(usable_device("auto")), "python": platform.python_version()}, {}

    def on_models(self, progress: Progress) -> Answer:
        """models: see `registry.model_rows`."""
        return {"models": model_rows()}, {}

    def on_check(self, progress: Progress, geometry: Mapping[str, Any], image: np.ndarray, modality: str = "", model: str | None = None) -> Answer:
        """Whether an image suits a model: level "green", "amber" or "red", and text. The desk stays as it is."""
        described = describe_model(find_model(model or DEFAULT))
        return suits(Volume(image, grid_of(geometry), modality), described, progress)._asdict(), {}

    def on_set_volume(self, progress: Progress, geometry: Mapping[str, Any], image: np.ndarray, modality: str = "", key: str = "",
                      labels: np.ndarray | None = None, names: Mapping[str, str] | None = None) -> Answer:
        """Begin anew with an image (K, J, I), and with labels where some are given: slow, so that clicks are quick."""
        volume = Volume(image, grid_of(geometry), modality)
        drawn = None if labels is None else label_map(labels, volume.geometry, names)
        self._lay(Desk(volume, key, drawn), progress)
        return {"key": key}, {}

    def on_segment(self, progress: Progress, model: str | None = None, device: str = "auto", refine: bool = True) -> Answer:
        """organs, warnings, seconds, model (its name and title, chosen by the image where None is given) and the array labels. names, grid, ranges and the
        array logits are what `labels` restores it from.
        """
        desk = self._needed()
        chosen = model or fitting_model(desk.volume, device, part(progress, 0, .05))
        segmenter = self._segmenter_of(chosen, device, refine, progress)
        prediction = segmenter.segment(desk.volume, progress=part(progress, .05, .95))
        kept = _halved(prediction)
        found = organs_found(kept or prediction)
        self._lay(replace(desk, labels=prediction.labels, prediction=kept, found=found), part(progress, .95, 1))
        result = {"organs": [plain_organ(each) for each in found], "warnings": list(prediction.warnings), "seconds": prediction.seconds,
                  "model": {"name": chosen, "title": segmenter.model.card.get("title", chosen)}, "names": plain_names(prediction.labels.names), "grid": plain_grid(prediction.geometry),
                  "ranges": prediction.ranges and prediction.ranges.to_dict()}
        return result, {"labels": prediction.labels.ids, **({"logits": kept.logits.numpy()} if kept else {})}

    def on_labels(self, progress: Progress, labels: np.ndarray, names: Mapping[str, str] | None = None, grid: Mapping[str, Any] | None = None,
                  ranges: Mapping[str, Any] | None = None, logits: np.ndarray | None = None) -> Answer:
        """The labels are these now, as they were changed elsewhere: clicks begin anew on them, with nothing to undo and no prompt in
        force. With grid, ranges and logits they are an automatic result, as `segment` gave it.
        """
        desk = self._needed()
        given = label_map(labels, desk.volume.geometry, names)
        if logits is not None:
            prediction = Prediction(given, torch.from_numpy(logits), grid_of(grid or {}), (), 0., VolumeRanges.from_dict(ranges))
            desk = replace(desk, prediction=prediction, found=organs_found(prediction))
        self._lay(replace(desk, labels=given), progress)
        return {}, {}

    def on_click_model(self, progress: Progress, model: str | None = None, device: str = "auto") -> Answer:
        """Which model answers clicks, None for the first that can; what is on the desk is made ready for it."""
        clicking = load_click_model(model), str(usable_device(device))
        desk = self._desk and replace(self._desk, labels=self._now())
        session = _begun(None, desk, clicking, progress) if desk else None
        self._clicking, self._desk, self._session = clicking, desk, session
        return {"name": clicking[0].card.get("name", ""), "device": clicking[1]}, {}

    def on_add_label(self, progress: Progress, name: str) -> Answer:
        """label: the id that prompts of this name carry from now on."""
        return {"label": self._ready(progress).add_label(name)}, {}

    def on_prompt(self, progress: Progress, prompt: Mapping[str, Any], locked: Sequence[int] | None = None, region: Sequence[Any] | None = None,
                  box: Sequence[Any] | None = None, labels: np.ndarray | None = None) -> Answer:
        """prompt: as `prompts.to_json` gives it, but numbered here; locked: ids that keep their voxels, region: [start, stop] that limits
        the change, both the prompt's own where None. Gives edit, and labels of its box; with these, an earlier answer is taken again.
        """
        session, asked = self._ready(progress), from_json({"number": 0, **prompt})
        number = 1 + max((each.number for each in session.prompts), default=0)
        asked = replace(asked, number=number, locked=asked.locked if locked is None else tuple(locked), region=box_of(region) or asked.region)
        if labels is not None:
            return _answered(session.recall(asked, box_of(box or ()), labels))
        return _answered(session.add(asked, progress=progress))

    def on_undo(self, progress: Progress) -> Answer:
        """edit, None where there is nothing to undo."""
        return _answered(self._ready(progress).undo())

    def on_redo(self, progress: Progress) -> Answer:
        return _answered(self._ready(progress).redo())

    def on_remove(self, progress: Progress, number: int) -> Answer:
        """Take one prompt back, and what it caused; the others stay."""
        return _answered(self._ready(progress).remove(number, progress=progress))

    def on_prompts(self, progress: Progress) -> Answer:
        return {"prompts": [to_json(each) for each in self._session.prompts] if self._session else []}, {}

    def on_replay(self, progress: Progress, prompts: Sequence[Mapping[str, Any]]) -> Answer:
        return _answered(self._ready(progress).replay(prompts, progress=progress))

    def on_uncertainty(self, progress: Progress, label: int, samples: int = 8) -> Answer:
        """entropy (K, J, I) uint8, times `unit` in nats; 0 away from the object."""
        entropy = self._ready(progress).uncertainty(label, samples).array
        unit = math.log(2) / 255
        return {"unit": unit}, {"entropy": np.rint(np.clip(entropy / unit, 0, 255)).astype(np.uint8)}

    def on_next_place(self, progress: Progress, label: int | None = None) -> Answer:
        """ras, label, reason and score of what most deserves a look; ras is None where nothing does."""
        place = self._ready(progress).next_place(label, progress=progress)
        if place is None:
            return {"ras": None, "label": label, "reason": "", "score": 0.}, {}
        return {"ras": list(map(float, place.ras)), "label": place.label, "reason": place.reason, "score": float(place.score)}, {}

    def on_current(self, progress: Progress) -> Answer:
        """labels as they are now, and their names."""
        desk, labels = self._needed(), self._now()
        ids = np.zeros(desk.volume.geometry.shape, np.uint8) if labels is None else labels.ids.copy()
        return {"names": plain_names(labels.names if labels else {})}, {"labels": ids}

    def on_measure(self, progress: Progress) -> Answer:
        """rows: id, name, title, color, ml, low_ml, high_ml, before_ml, mean, sd, diameter_mm of each label."""
        desk, labels = self._needed(), self._now()
        before = {each.size.id: each for each in desk.found}
        rows = measured(desk.volume, labels) if labels else ()
        return {"rows": [plain_measured(row, before.get(row.size.id)) for row in rows]}, {}

    def on_export(self, progress: Progress, folder: str, formats: Sequence[str] = ("seg.nrrd",), manifest: Mapping[str, Any] | None = None,
                  series: str | None = None, series_uid: str | None = None, names: Mapping[str, str] | None = None,
                  labels: np.ndarray | None = None, geometry: Mapping[str, Any] | None = None) -> Answer:
        """Write the labels given, or as they are now, into a folder; gives the manifest's path. Formats, series and refusals: `export.export`.

        geometry: what the files say of the place of the voxels, where the volume was moved before it was set; None for the volume's.
        """
        from .export import export  # with what it brings, a quarter of a second that a restarted worker would take longer

        volume = self._needed().volume
        if geometry is not None:
            volume = replace(volume, geometry=grid_of(geometry))
        now = self._now() if labels is None else label_map(labels, volume.geometry, names)
        if now is None:
            raise BadInput("There is nothing to export yet; segment the volume first.")
        now = replace(now, geometry=volume.geometry)
        used = [model for model in (self._segmenter and self._segmenter[1].model, self._clicking and self._clicking[0]) if model]
        said = {"models": [{"name": model.card.get("name", ""), "sha256": model.sha256} for model in used],
                "prompts": self.on_prompts(progress)[0]["prompts"], **(manifest or {})}
        return {"manifest": str(export(volume, now, folder, formats, said, series=series, series_uid=series_uid, progress=progress))}, {}

    def on_save(self, progress: Progress, path: str) -> Answer:
        self._ready(progress).save(Path(path))
        return {}, {}

    def on_restore(self, progress: Progress, path: str) -> Answer:
        """A session that `save` wrote, on the volume that is set."""
        desk, session = self._needed(), self._ready(progress)
        self._session = RefinementSession.restore(Path(path), session.model, desk.volume, desk.prediction, device=session.device, progress=progress)
        return self.on_prompts(progress)

    def _needed(self) -> Desk:
        if self._desk is None:
            raise BadInput("There is no volume; choose one first.")
        return self._desk

    def _now(self) -> LabelMap | None:
        return self._session.labels if self._session else self._needed().labels

    def _lay(self, desk: Desk, progress: Progress) -> None:
        """A desk for the present one, ready for clicks if there is a model for them."""
        self._clicking = self._clicking or _first_for_clicks()
        session = _begun(self._session, desk, self._clicking, progress) if self._clicking else None
        self._desk, self._session = desk, session

    def _ready(self, progress: Progress) -> RefinementSession:
        if self._session is None:
            desk, clicking = self._needed(), self._clicking or (load_click_model(None), "auto")
            self._session = _begun(None, desk, clicking, progress)
            self._clicking = clicking
        return self._session

    def _segmenter_of(self, model: str, device: str, refine: bool, progress: Progress) -> Segmenter | ForeignSegmenter:
        path = find_model(model)
        wanted = (str(path), path.stat().st_mtime_ns if path.exists() else 0, device, refine)
        if self._segmenter is None or self._segmenter[0] != wanted:
            progress(0., "Loading the model")
            self._segmenter = wanted, open_segmenter(path, device, refine=refine)
        return self._segmenter[1]


def _first_for_clicks() -> tuple[Model, str] | None:
    """The first model that answers clicks; None where there is none, or it is none for this version: the first click says so, all else goes on."""
    try:
        model = load_click_model(None)
        click_refiner(model)
    except BadInput:
        return None
    return model, "auto"


def _begun(present: RefinementSession | None, desk: Desk, clicking: tuple[Model, str], progress: Progress) -> RefinementSession:
    """A session on the desk: the present one if the model is the same, as it knows the volume already."""
    progress(0., "Preparing the volume for clicks")
    same = present is not None and present.model is clicking[0]
    session = present if same else RefinementSession(clicking[0], device=clicking[1])
    session.set_volume(desk.volume, desk.labels, desk.prediction, progress=progress)
    return session


def _answered(edit: Edit | None) -> Answer:
    if edit is None:
        return {"edit": None}, {}
    told = {"box": plain_box(edit.box), "added_ml": float(edit.added_ml), "removed_ml": float(edit.removed_ml), "number": edit.number}
    return {"edit": told}, {"labels": edit.labels}


def _halved(prediction: Prediction) -> Prediction | None:
    """With logits of half precision, as they are kept and sent; None where even that is too much to keep."""
    halves = prediction.logits.half().cpu().contiguous()
    return replace(prediction, logits=halves) if halves.numel() * 2 <= MOST_DOUBTS else None

"""An engine that answers at once and in whole voxels: bright is organ, a click is a cube. Undo, redo, removal and locks are real."""

from __future__ import annotations

import json
import time
from typing import Any, Mapping

import numpy as np

from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Box, Geometry

REACH = 1  # voxels round a click
ORGANS = ({"id": 1, "name": "brainstem", "title": "Brainstem", "color": [0.75, 0.55, 0.47]}, {"id": 5, "name": "esophagus", "title": "Esophagus", "color": [0.83, 0.67, 0.56]})


class ToyEngine:
    """In the image, 1 is the brainstem and 5 the esophagus; 99 makes segmenting slow, so that it can be stopped."""

    def call(self, name: str, arguments: Mapping[str, Any], arrays: Mapping[str, np.ndarray], progress: Any) -> Any:
        return getattr(self, name)(progress, **arguments, **arrays)

    def set_volume(self, progress, geometry, image, modality="", key="", labels=None, names=None):
        self.geometry = Geometry(tuple(geometry["shape"]), np.array(geometry["ijk_to_ras"]))
        self.image, self.modality = image, modality
        self.start = self.now = np.zeros(image.shape, np.uint8) if labels is None else labels.copy()
        self.names = dict(names or {})
        self.trail, self.done, self.undone = [], [], []
        return {"key": key}, {}

    def segment(self, progress, model=None, device="auto", refine=True):
        for step in range(100 if self.image.max() == 99 else 1):
            progress(step / 100, "Looking at the volume")
            time.sleep(0.02)
        if model == "missing":
            raise BadInput("There is no model 'missing'; choose another one.")
        self.start = self.now = np.where(np.isin(self.image, (1, 5)), self.image, 0).astype(np.uint8)
        self.trail, self.done, self.undone = [], [], []
        organs = [{**organ, "ml": self._ml(self.now == organ["id"]), "low_ml": 0.0, "high_ml": 9.0, "range_rate": 0.9, "confidence": 1 - 0.1 * organ["id"]} for organ in ORGANS]
        self.names = {str(organ["id"]): organ["name"] for organ in ORGANS}
        return {"organs": organs, "warnings": ["It is a toy."], "seconds": 0.0, "names": self.names,
                "model": {"name": model or "toy", "title": "Toys in cubes"}}, {"labels": self.now}

    def labels(self, progress, labels, names=None):
        self.names = dict(names or {})
        self.start = self.now = labels.copy()
        self.trail, self.done, self.undone = [], [], []
        return {}, {}

    def add_label(self, progress, name):
        if name in self.names.values():
            raise BadInput(f"There is a label {name!r} already.")
        label = next(n for n in range(200, 256) if str(n) not in self.names)
        self.names[str(label)] = name
        return {"label": label}, {}

    def export(self, progress, folder, formats, names, geometry, manifest, labels, series=None):
        from pathlib import Path

        Path(folder).mkdir()
        np.savez(Path(folder) / "labels.npz", labels=labels, ijk_to_ras=geometry["ijk_to_ras"])
        (Path(folder) / "manifest.json").write_text(json.dumps({"names": names, "formats": formats, **manifest}))
        return {"manifest": str(Path(folder) / "manifest.json")}, {}

    def prompt(self, progress, prompt, locked=None, region=None, box=None, labels=None):
        """With box and labels, the answer is known: a worker that is started again is told so."""
        if str(prompt["label"]) not in self.names:
            raise BadInput(f"There is no label {prompt['label']}.")
        number = 1 + max((each.get("number", 0) for each in self.trail), default=0)
        prompt = {**prompt, "number": number, "locked": locked, "region": region}
        now = self._answered(self.now, prompt)
        assert box is None or (now[Box(*map(tuple, box)).slices] == labels).all()
        return self._step(now, [*self.trail, prompt], number)

    def remove(self, progress, number):
        trail = [each for each in self.trail if each.get("number") != number]
        return self._step(self._all(trail), trail, number)

    def replay(self, progress, prompts):
        return self._step(self._all(prompts), list(prompts))

    def undo(self, progress):
        if not self.done:
            return {"edit": None}, {}
        self.undone.append((self.now, self.trail))
        before, (self.now, self.trail) = self.now, self.done.pop()
        return self._edit(before)

    def redo(self, progress):
        if not self.undone:
            return {"edit": None}, {}
        self.done.append((self.now, self.trail))
        before, (self.now, self.trail) = self.now, self.undone.pop()
        return self._edit(before)

    def next_place(self, progress, label=None):
        kji = np.argwhere(self.now == (label or 5))
        ras = self.geometry.to_ras(kji[0]).tolist() if len(kji) else None
        return {"ras": ras, "label": label or 5, "reason": "The samples disagree here.", "score": 0.5}, {}

    def uncertainty(self, progress, label, samples=8):
        return {"unit": 0.0027}, {"entropy": np.where(self.now == label, 200, 0).astype(np.uint8)}

    def save(self, progress, path):
        with open(path, "wb") as file:
            np.savez(file, start=self.start, trail=json.dumps(self.trail), names=json.dumps(self.names))
        return {}, {}

    def restore(self, progress, path):
        try:
            with np.load(path) as file:
                self.start, trail, self.names = file["start"], json.loads(str(file["trail"])), json.loads(str(file["names"]))
        except ValueError as error:
            raise BadInput("It is damaged.") from error
        self.done, self.undone = [(self._all(trail[:n]), trail[:n]) for n in range(len(trail))], []
        self.trail, self.now = trail, self._all(trail)
        return {"prompts": trail}, {}

    def current(self, progress):
        return {"names": self.names, "trail": len(self.trail)}, {"labels": self.now}

    def _all(self, trail):
        now = self.start
        for each in trail:
            now = self._answered(now, each)
        return now

    def _answered(self, now, prompt):
        places = [prompt["ras"]] if prompt["kind"] == "point" else prompt.get("corners") or prompt["ras"]
        out = now.copy()
        for place in places:
            kji = np.floor(self.geometry.to_index(place) + 0.5).astype(int)
            if not self.geometry.contains(kji):
                raise BadInput(f"The {prompt['kind']} is outside the volume.")
            box = Box(tuple(kji), tuple(kji + 1)).grow(REACH).clip(now.shape)
            if prompt["region"]:
                box = box.intersect(Box(*map(tuple, prompt["region"])))
            part, label = out[box.slices], prompt["label"]
            free = np.isin(part, [0, label]) if prompt["locked"] is None else ~np.isin(part, prompt["locked"])
            part[free if prompt["inside"] else part == label] = label if prompt["inside"] else 0
        return out

    def _step(self, now, trail, number=None):
        self.done.append((self.now, self.trail))
        self.undone = []
        before, self.now, self.trail = self.now, now, trail
        return self._edit(before, number)

    def _edit(self, before, number=None):
        box = Box.of(before != self.now)
        edit = {"box": [list(box.start), list(box.stop)], "added_ml": 0.0, "removed_ml": 0.0, "number": number}
        return {"edit": edit}, {"labels": self.now[box.slices]}

    def _ml(self, mask):
        return float(mask.sum() * np.prod(self.geometry.spacing) / 1000)

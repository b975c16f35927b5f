"""Segments to files: the worker writes them, from the voxels that the scene shows, on the grid that the volume's own file has."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any, Sequence

from DiffSegCore.errors import BadInput

from . import SceneBridge
from .Measuring import MeasureRow
from .Task import Asked, Chain
from .VolumeFrame import localGeometry


def exporting(session: Any, measured: Sequence[MeasureRow], folder: str, formats: tuple[str, ...]) -> Chain:
    """A chain for Task; its result is the manifest's path. A pending preview is not exported, as the scene does not have it yet."""
    yield from session.ready(clicking=False)
    labels = SceneBridge.labelsOf(session.segmentationNode, session.volumeNode, known=session.mirror.labelIds)
    local = localGeometry(session.volumeNode)
    arguments = {
        "folder": folder, "formats": list(formats), "names": {str(id): name for id, name in labels.names.items()},
        "geometry": {"shape": list(local.shape), "ijk_to_ras": local.ijk_to_ras.tolist()},
        "manifest": {"checked": _checked(session, labels), "measured": [asdict(row) for row in measured]},
    }
    if "dicomseg" in formats:
        arguments["series"] = _seriesFolder(session.volumeNode)
    answer, _ = yield Asked(session.ask("export", arguments, {"labels": labels.ids}))
    return answer["manifest"]


def _checked(session: Any, labels: SceneBridge.SceneLabels) -> list[str]:
    return [labels.names[id] for segment, id in labels.segments.items() if SceneBridge.isChecked(session.segmentationNode, segment)]


def _seriesFolder(volumeNode: Any) -> str:
    """Where the DICOM files of a volume lie: in Slicer's database, or where the volume was read from."""
    import slicer

    instances = (volumeNode.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    paths = [database.fileForInstance(instances[0])] if instances and database is not None else []
    storage = volumeNode.GetStorageNode()
    paths += [storage.GetFullNameFromFileName()] if storage is not None and storage.GetFileName() else []
    found = next((path for path in paths if path and os.path.isfile(path) and (instances or path.lower().endswith(".dcm"))), None)
    if found is None:
        raise BadInput("DICOM SEG refers to the DICOM files of the volume, and they are not known here; "
                       "load it with the DICOM module, or choose another format.")
    return os.path.dirname(found)

"""The sample volume that ships with DiffSeg, for the Sample Data module: nothing is downloaded."""

from __future__ import annotations

import hashlib
from pathlib import Path

NAME = "DiffSegSample"


def path() -> Path:
    """The sample CT's file: synthetic, a head and neck."""
    from .CorePath import ensureCore

    ensureCore()
    from DiffSegCore.resources import resource

    return resource("Sample", "sample_ct.nii.gz")


def register() -> None:
    """List the sample under Sample Data, category DiffSeg. Does nothing where the file is missing: then there is nothing to list."""
    import SampleData

    file = path()
    if file.is_file():
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="DiffSeg", sampleName=NAME, uris=file.as_uri(), fileNames=NAME + ".nii.gz", nodeNames=NAME,
            checksums="SHA256:" + hashlib.sha256(file.read_bytes()).hexdigest(),
            thumbnailFileName=str(Path(__file__).resolve().parents[1] / "Resources" / "Icons" / "DiffSeg.png"))


def load():
    """Load the sample into the scene; its volume node."""
    import slicer

    return slicer.util.loadVolume(str(path()), {"name": NAME, "singleFile": True})

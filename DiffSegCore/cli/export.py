"""`diffseg export`: labels handed on in other formats, with a manifest."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import BadInput
from .command import add_command
from .terminal import bar

_FORMATS = ("seg.nrrd", "nii.gz", "nii", "nrrd", "mha", "stl", "dicomseg", "png")  # export.FORMATS; said again, since importing it takes seconds


def add(commands: Any) -> None:
    parser = add_command(commands, "export", "hand labels on: other formats, surfaces, DICOM SEG, with a manifest", run,
                         more="The folder appears whole or not at all; manifest.json says what made it and has the SHA-256 of each file.")
    parser.add_argument("labels", metavar="LABELS", type=Path, help="a label file of any tool")
    parser.add_argument("-o", "--output", metavar="FOLDER", type=Path, required=True, help="a new folder, or that of an earlier export")
    parser.add_argument("--format", choices=_FORMATS, action="append", required=True, help="may be given several times")
    parser.add_argument("--image", metavar="INPUT", type=Path, help="the image: needed by png, and by dicomseg as the folder of its DICOM series")
    parser.add_argument("--series", metavar="UID", help="which DICOM series of a folder with several; the largest by default")
    parser.add_argument("--model", metavar="NAME|PATH", help="the model that made the labels, to be named in the manifest")


def run(args: argparse.Namespace) -> None:
    with bar() as progress:
        from ..export import export
        from ..model import describe_model
        from ..progress import part
        from ..reading import read_labels, read_volume
        from ..registry import find_model, name_of

        manifest: dict[str, Any] = {}
        if args.model is not None:
            path = find_model(args.model)
            manifest["models"] = [{"name": name_of(path), "sha256": describe_model(path)["sha256"]}]
        series = args.image if "dicomseg" in args.format else None
        if series is not None and not series.is_dir():
            raise BadInput(f"{series} is no folder; a DICOM SEG needs the folder of the DICOM series that was segmented.")
        progress(0.0, "Reading")
        labels = read_labels(args.labels)
        volume = None if args.image is None else read_volume(args.image, series=args.series)
        told = export(volume, labels, args.output, args.format, manifest, series=series, series_uid=args.series, progress=part(progress, 0.1, 1.0))
    print(told)

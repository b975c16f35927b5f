"""Pictures (PNG, TIFF, JPEG) as volumes of one plane, and masks as their labels. A pixel counts as 1 mm."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import BadInput
from ..files import atomic, naming
from ..geometry import Geometry
from ..volume import LabelMap, Volume

PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
MODALITY = "picture"
LOSSLESS = (".png", ".tif", ".tiff")
OBJECT = "object"  # what a mask of black and white shows


def is_picture(path: str | Path) -> bool:
    return Path(path).suffix.lower() in PICTURES


def read_picture(path: str | Path) -> Volume:
    """(1, J, I) of a grey picture, (3, 1, J, I) of a coloured one; J runs down, I to the right. Alpha is dropped.

    Raises BadInput for a missing or damaged file and one of several pages.
    """
    array = _pixels(Path(path), "RGB")
    grid = _grid(array.shape[:2])
    if array.ndim == 2:
        return Volume(array[None], grid, MODALITY)
    return Volume(np.ascontiguousarray(array.transpose(2, 0, 1)[:, None]), grid, MODALITY)


def read_mask(path: str | Path) -> LabelMap:
    """Labels (1, J, I). Black and white is one object, id 1; other grey values are ids themselves.

    Raises BadInput as `read_picture` does, and for greys between black and white, as JPEG leaves them.
    """
    array = _pixels(Path(path), "L")
    values = np.unique(array)
    if array.dtype.kind not in "bu" or (len(values) > 64 and values.max() > 64):
        raise BadInput(f"Cannot read {path} as a mask: it holds {len(values)} different greys; save it without compression losses, as PNG.")
    if values.max() == 255 and len(values) <= 2:
        array = array // 255
    ids = array.astype(np.uint8 if array.max() < 256 else np.uint16)[None]
    return LabelMap(ids, _grid(array.shape), {1: OBJECT} if len(values) <= 2 and values.max() in (1, 255) else {})


def write_mask(labels: LabelMap, path: str | Path) -> None:
    """Labels of one plane as a PNG or TIFF: black and white if there is one label, ids as greys otherwise."""
    from PIL import Image

    check_mask_place(Path(path))
    if labels.ids.shape[0] != 1:
        raise BadInput(f"Cannot write {path}: labels of {labels.ids.shape[0]} planes are no picture; choose .nii.gz or .seg.nrrd.")
    one = set(labels.names) <= {1} and labels.ids.max() <= 1
    ids = labels.ids[0] * np.uint8(255) if one else labels.ids[0]
    with atomic(path) as temporary:
        Image.fromarray(ids).save(temporary)


def write_picture(array: np.ndarray, path: str | Path) -> None:
    """uint8 (J, I) or (J, I, 3)."""
    from PIL import Image

    with atomic(path) as temporary:
        Image.fromarray(array).save(temporary)


def check_mask_place(path: Path) -> None:
    if path.suffix.lower() not in LOSSLESS:
        raise BadInput(f"Cannot write a mask to {path}: its name has to end in {', '.join(LOSSLESS)}; JPEG would blur it.")


def _pixels(path: Path, wanted: str) -> np.ndarray:
    """Grey (J, I) or, where the picture has colours and "RGB" is wanted, (J, I, 3)."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise BadInput("Pictures need the package Pillow: pip install pillow.") from error
    if not path.is_file():
        raise BadInput(f"There is no picture {path}; check the path.")
    with naming(path):
        try:
            with Image.open(path) as image:
                if getattr(image, "n_frames", 1) > 1:
                    raise BadInput(f"It has {image.n_frames} pages; save the one you mean.")
                return _as_array(image, wanted)
        except (UnidentifiedImageError, SyntaxError, EOFError, ValueError) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput("It is damaged or not a picture; save it again as PNG.") from error


def _as_array(image: object, wanted: str) -> np.ndarray:
    mode = image.mode
    if mode in ("RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV") or mode == "P" and wanted == "RGB":
        image = image.convert(wanted)
    elif mode in ("1", "LA"):
        image = image.convert("L")
    array = np.array(image)  # palette indices of a mask stay indices
    return array.astype(np.uint16) if mode.startswith("I") and array.min() >= 0 and array.max() < 65536 else array


def _grid(shape: tuple[int, int]) -> Geometry:
    return Geometry((1, *shape), np.eye(4))

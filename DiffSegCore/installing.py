"""Models come and go: from the catalogue, an address or a file, checked before they take their place, and removed again."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from itertools import product
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from .catalogue import Entry, catalogue
from .downloading import download
from .errors import BadInput
from .files import atomic, file_hash
from .foreign_file import is_foreign, read_foreign
from .model import load_model_file
from .progress import Progress, part, silent
from .registry import FOREIGN, SUFFIX, model_files, own_folders
from .resources import resource


@dataclass(frozen=True)
class Verdict:
    """What `verify` found of a model: "" for nothing wrong."""

    name: str
    file: Path
    problem: str = ""


def install(source: str | Path, *, sha256: str | None = None, replace: bool = False, progress: Progress = silent) -> Path:
    """Put a model where `diffseg models` finds it; returns its file.

    source: a name in the catalogue, an http(s) address, or a model file on the disk. An address is fetched again from where
    it stopped. sha256: of the file; the catalogue's by default. Nothing takes its place before it is whole and loads.
    Raises BadInput for a wrong hash, a file that is no model, and, without `replace`, another model of the name.
    """
    source, known = str(source), catalogue()
    entry = known.get(source)
    place = entry.place if entry else source
    remote = place.startswith(("https://", "http://"))
    if not remote and entry:
        place = str(resource("Models", entry.place))
    target = own_folders()[0] / f"{_name(place, entry)}{SUFFIX}"
    wanted = (sha256 or (entry.sha256 if entry else "")).lower()
    if target.is_file() and not replace:
        return _same_or_refused(target, wanted, None if remote else Path(place))
    _make(target.parent)
    if remote:
        _fetch(place, target, wanted, entry.bytes if entry else None, progress)
    else:
        _copy(Path(place), target, wanted, progress)
    return target


def remove(name: str) -> Path:
    """Delete a model of the user's own, of another tool's only that it was added; returns the file that was. BadInput for one that ships with DiffSeg, or is not there."""
    for folder, suffix in product(own_folders(), (SUFFIX, FOREIGN)):
        path = folder / f"{name}{suffix}"
        if path.parent == folder and path.is_file():
            path.unlink()
            return path
    if name in model_files():
        raise BadInput(f"The model {name!r} ships with DiffSeg and goes only with it.")
    raise BadInput(f"There is no model {name!r} to remove; there are {', '.join(model_files()) or 'none'}.")


def verify(name: str | None = None, progress: Progress = silent) -> tuple[Verdict, ...]:
    """Whether models, all of them or one, load and hold what they claim; those that ship, also what the catalogue claims."""
    files = model_files()
    if name is not None and name not in files:
        raise BadInput(f"There is no model {name!r}; there are {', '.join(files) or 'none'}.")
    chosen = {name: files[name]} if name is not None else files
    found = []
    for number, (each, path) in enumerate(chosen.items()):
        progress(number / len(chosen), f"Checking {each}")
        found.append(Verdict(each, path, _problem(path, catalogue().get(each))))
    return tuple(found)


def _problem(path: Path, entry: Entry | None) -> str:
    try:
        if is_foreign(path):
            read_foreign(path).check()
        else:
            load_model_file(path)
    except BadInput as error:
        return str(error)
    if entry and path.parent == resource("Models") and file_hash(path) != entry.sha256:
        return f"{path} is not the file that the catalogue names ({entry.sha256[:12]}...); install DiffSeg again."
    return ""


def _name(place: str, entry: Entry | None) -> str:
    """The model's name: the catalogue's, or that of its file, in letters that every file system takes."""
    last = PurePosixPath(unquote(urlsplit(place).path)).name if "://" in place else Path(place).name
    if not last.endswith(SUFFIX):
        raise BadInput(f"{place} is neither a model in the catalogue nor a {SUFFIX} file or address; `diffseg models` lists the catalogue.")
    return entry.name if entry else re.sub(r"[^\w.-]+", "_", last.removesuffix(SUFFIX))


def _same_or_refused(target: Path, wanted: str, source: Path | None) -> Path:
    if source is not None and source.is_file():
        wanted = wanted or file_hash(source)
    if wanted and file_hash(target) == wanted:
        return target  # it is there already
    raise BadInput(f"There is another model {target.stem!r} in {target.parent}; remove it first, or replace it with --replace.")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"Cannot make the folder {folder}: {error.strerror}; name another in DIFFSEG_MODELS.") from error


def _fetch(url: str, target: Path, wanted: str, size: int | None, progress: Progress) -> None:
    growing = target.with_name(f".{target.stem}-{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")
    download(url, growing, size=size, progress=part(progress, 0.0, 0.95))
    progress(0.95, "Checking")
    ready = growing.with_name(f"{growing.name}{SUFFIX}")  # loading wants the suffix
    os.replace(growing, ready)
    try:
        _check(ready, wanted, url)
        os.replace(ready, target)
    finally:
        ready.unlink(missing_ok=True)  # what is wrong is not gone on with


def _copy(source: Path, target: Path, wanted: str, progress: Progress) -> None:
    if not source.is_file():
        raise BadInput(f"There is no model file {source}; check the path.")
    progress(0.0, "Checking")
    with atomic(target) as temporary:
        shutil.copyfile(source, temporary)
        _check(temporary, wanted, str(source))


def _check(path: Path, wanted: str, source: str) -> None:
    if wanted and (found := file_hash(path)) != wanted:
        raise BadInput(f"{source} has the SHA-256 {found[:16]}..., expected was {wanted[:16]}...: it was damaged or changed on the way, and is not installed.")
    try:
        load_model_file(path)
    except BadInput as error:
        raise BadInput(str(error).replace(str(path), source)) from error

"""Files appear whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator

from .errors import BadInput

DOUBLE_SUFFIXES = (".nii.gz", ".seg.nrrd")

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file is larger than this system allows; choose another folder",
    errno.EROFS: "the folder is read-only; choose another folder",
    errno.EACCES: "permission is denied or another program holds it open; close it or choose another folder",
    errno.EPERM: "permission is denied; choose another folder",
    errno.EISDIR: "a folder of that name exists; choose another name",
    errno.ENOENT: "its folder does not exist; create it first",
    errno.ENOTDIR: "its folder is a file; choose another folder",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def suffix_of(path: str | Path) -> str:
    """The suffix in lower case, ".nii.gz" and ".seg.nrrd" kept whole."""
    name = Path(path).name.lower()
    return next((s for s in DOUBLE_SUFFIXES if name.endswith(s)), Path(name).suffix)


def without_suffix(path: str | Path) -> Path:
    """The path less `suffix_of` it: `out.nii.gz` becomes `out`."""
    path = Path(path)
    return path.with_name(path.name[: len(path.name) - len(suffix_of(path))])


def beside(path: str | Path, suffix: str) -> Path:
    """The file of another kind that belongs to `path`: `out.nii.gz` and ".json" give `out.json`."""
    stem = without_suffix(path)
    return stem.with_name(stem.name + suffix)


def file_hash(path: Path) -> str:
    """SHA-256 of a whole file, as `sha256sum` prints it."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Put the file that cannot be read in front of the reason; the system's refusals become sentences."""
    try:
        yield
    except BadInput as error:
        reason = str(error)
        raise BadInput(f"Cannot read {path}: {reason[:1].lower()}{reason[1:]}") from error.__cause__
    except OSError as error:
        raise BadInput(f"Cannot read {path}: {error.strerror or error}; check the file and its permissions.") from error
    except MemoryError as error:
        raise BadInput(f"Cannot read {path}: it does not fit into this computer's memory; crop or resample it first.") from error


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder with the same suffix; it becomes `path` on success.

    Any exception, KeyboardInterrupt included, removes it and leaves what was at `path` before.
    Raises BadInput when the place cannot be written (no folder, no permission, disk full).
    """
    with atomic_together(path) as (temporary,):
        yield temporary


@contextmanager
def atomic_together(*paths: str | Path) -> Iterator[tuple[Path, ...]]:
    """`atomic` for files that belong together: all of them appear, or none."""
    targets = tuple(Path(os.path.realpath(path)) for path in paths)
    temporaries = tuple(_beside(target) for target in targets)
    try:
        for target in targets:
            _check_place(target)
        yield temporaries
        for temporary in temporaries:
            _flush(temporary)
        _move(temporaries, targets)
    except OSError as error:
        refusal = _refusal(error, targets, temporaries)
        if refusal is None:
            raise
        raise refusal from error
    finally:
        for temporary in temporaries:
            with suppress(OSError):  # a place where no file can be made refuses its removal, too
                temporary.unlink()


def _beside(target: Path) -> Path:
    return target.with_name(f".{without_suffix(target).name[:40]}-{secrets.token_hex(6)}{suffix_of(target)}")


def _check_place(target: Path) -> None:
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not target.parent.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target))
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))


def _flush(path: Path) -> None:
    # Network file systems report a full disk only here, and a power cut must not leave an empty file.
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _move(temporaries: tuple[Path, ...], targets: tuple[Path, ...]) -> None:
    """Rename each into place; if one refuses, put back what was there."""
    moved: list[tuple[Path, Path | None]] = []
    try:
        for temporary, target in zip(temporaries[:-1], targets[:-1]):
            previous = _beside(target) if target.exists() else None
            if previous is not None:
                os.replace(target, previous)
            moved.append((target, previous))
            os.replace(temporary, target)
        os.replace(temporaries[-1], targets[-1])
    except BaseException:
        for target, previous in reversed(moved):
            target.unlink(missing_ok=True)
            if previous is not None:
                os.replace(previous, target)
        raise
    for _, previous in moved:
        if previous is not None:
            previous.unlink(missing_ok=True)


def _refusal(error: OSError, targets: tuple[Path, ...], temporaries: tuple[Path, ...]) -> BadInput | None:
    """A sentence for the user, or None if the error is about something else than these files."""
    ours = {str(path) for path in (*targets, *temporaries)}
    if error.errno not in _REASONS or (error.filename is not None and str(error.filename) not in ours):
        return None
    named = {str(temporary): target for temporary, target in zip(temporaries, targets)}
    target = named.get(str(error.filename), error.filename or targets[0])
    return BadInput(f"Cannot write {target}: {_REASONS[error.errno]}.")

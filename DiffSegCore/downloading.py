"""A file from the web: what came before the line broke is kept, the next try asks for the rest."""

from __future__ import annotations

import http.client
import logging
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any

from . import __version__
from .errors import BadInput
from .progress import Progress, silent

log = logging.getLogger(__name__)
_TIMEOUT_S = 30
_PIECE = 1 << 18
_ADVICE = "Behind a proxy set HTTPS_PROXY; without a network fetch the file elsewhere and install it from the disk."


def download(url: str, part: Path, *, size: int | None = None, progress: Progress = silent) -> None:
    """Fetch `url` into `part`, going on from what is in it. `size`: bytes, where known beforehand.

    Whether the whole is right is for its hash to say. Raises BadInput, `part` kept, for whatever a network does; Cancelled by `progress`, too.
    """
    if size is not None and part.is_file() and part.stat().st_size == size:
        return
    have = part.stat().st_size if part.is_file() else 0
    try:
        with _asked(url, have) as answer:
            goes_on = answer.status == http.client.PARTIAL_CONTENT and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            have = have if goes_on else 0
            rest = answer.headers.get("Content-Length")
            whole = have + int(rest) if rest else size
            with open(part, "ab" if goes_on else "wb") as file:
                _copy(answer, file, have, whole, progress)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:  # what is here is not a beginning of what is there
            part.unlink()
            return download(url, part, size=size, progress=progress)
        raise BadInput(f"The server refuses {url} ({error.code} {error.reason}); check the address.") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise BadInput(f"Cannot fetch {url}: {getattr(error, 'reason', error)}. {_ADVICE}") from error
    except OSError as error:
        raise BadInput(f"Cannot write {part}: {error.strerror or error}; free some space or choose another folder.") from error
    arrived = part.stat().st_size
    if whole is not None and arrived < whole:
        raise BadInput(f"The connection ended after {arrived / 1e6:.1f} of {whole / 1e6:.1f} MB; try again, it goes on from there.")


def _asked(url: str, have: int) -> Any:
    headers = {"User-Agent": f"DiffSeg/{__version__}", "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S)


def _copy(answer: IO[bytes], file: IO[bytes], have: int, whole: int | None, progress: Progress) -> None:
    while piece := answer.read(_PIECE):
        file.write(piece)
        have += len(piece)
        told = f"{have / 1e6:.1f} MB" if whole is None else f"{have / 1e6:.1f} of {whole / 1e6:.1f} MB"
        progress(have / whole if whole else 0.0, told)

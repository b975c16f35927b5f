"""The two exceptions every part of DiffSeg shares."""

from __future__ import annotations


class BadInput(ValueError):
    """The user's mistake: a full sentence with the value, the file or frame, and the way out.

    The command line prints the sentence without a traceback and exits with code 2.
    """


class Cancelled(Exception):
    """Raised by a progress callback; whatever is running unwinds and leaves nothing behind."""

"""`python -m DiffSegCore.service`: the worker process. A `Service` starts it and tells it the rest on its standard input."""
from __future__ import annotations

from .worker import main

if __name__ == "__main__":
    main()

"""Where the cases of a batch are computed: here one by one, in processes side by side, or on a Dask cluster."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Iterator, Sequence

from ..errors import BadInput
from ..progress import Progress, part
from .cases import BatchCase
from .parcel import pack, run_packed
from .work import Job, run_case

_CONNECT_S = 20


def records(cases: Sequence[BatchCase], job: Job, *, jobs: int = 1, scheduler: str | None = None, progress: Progress) -> Iterator[dict[str, Any]]:
    """Each case's record as soon as it is known, in any order. With `jobs` > 1 or a scheduler's address by Dask.

    Scheduler and workers of a cluster need DiffSeg, the workers also its packages, and the input, the model and the output under the same paths.
    """
    if scheduler is None and jobs == 1:
        yield from _here(cases, job, progress)
        return
    if scheduler is None:
        job = replace(job, threads=max(1, (os.cpu_count() or 1) // jobs))
    with _client(min(jobs, len(cases)), scheduler) as client:
        yield from _there(client, cases, job, progress)


def _here(cases: Sequence[BatchCase], job: Job, progress: Progress) -> Iterator[dict[str, Any]]:
    for number, case in enumerate(cases):
        shown = part(progress, number / len(cases), (number + 1) / len(cases))
        yield run_case(case, job, lambda fraction, stage: shown(fraction, f"{number + 1} of {len(cases)}: {stage}"))


def _there(client: Any, cases: Sequence[BatchCase], job: Job, progress: Progress) -> Iterator[dict[str, Any]]:
    from distributed import as_completed

    futures = {client.submit(run_packed, pack(case, job), pure=False): case for case in cases}
    try:
        for number, future in enumerate(as_completed(futures), start=1):
            yield _record(future, futures[future])
            progress(number / len(cases), f"{number} of {len(cases)} done")
    finally:
        client.cancel(list(futures))


def _record(future: Any, case: BatchCase) -> dict[str, Any]:
    """What the worker found out, or what became of the worker."""
    error = future.exception()
    if error is None:
        return future.result()
    sentence = f"Its worker ended in the middle ({type(error).__name__}), most likely for want of memory; run fewer jobs side by side."
    if type(error).__name__ not in ("KilledWorker", "CancelledError", "FutureCancelledError"):
        sentence = f"A worker of the cluster could not run it ({type(error).__name__}); it needs this version of DiffSeg and the same paths."
    return {"case": case.name, "state": "failed", "kind": "Crash", "error": sentence, "seconds": 0.0}


@contextmanager
def _client(jobs: int, scheduler: str | None) -> Iterator[Any]:
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise BadInput(f"Running cases side by side needs the package dask.distributed ({error}): pip install 'diffseg[cluster]'.") from error
    # A case that killed its worker is not given to the next one.
    with dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.comm.timeouts.connect": f"{_CONNECT_S}s"}):
        if scheduler is not None:
            try:
                client = Client(scheduler, timeout=_CONNECT_S)
            except (OSError, ValueError) as error:
                raise BadInput(f"No Dask scheduler answers at {scheduler}; start one with `dask scheduler`, or leave --scheduler out.") from error
            with client:
                yield client
            return
        # No limit to memory, as Dask would kill what it takes for a leak, and no web page of its own.
        with LocalCluster(n_workers=jobs, threads_per_worker=1, memory_limit=0, dashboard_address=None, silence_logs=logging.CRITICAL) as cluster:
            with Client(cluster) as client:
                yield client

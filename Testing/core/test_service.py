"""A worker may die at any moment; the one who asked keeps everything but the call that ran."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path
from typing import Iterator

import numpy as np
import pytest

from DiffSegCore.errors import Cancelled
from DiffSegCore.service import Failure, Service

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE)}
IMAGE = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc and /dev/shm")


def service(**options: object) -> Service:
    return Service(**{"env": ENVIRONMENT, "engine": "stand_in:StandIn", **options})


@pytest.fixture
def running() -> Iterator[Service]:
    with service() as one:
        yield one


@pytest.fixture(params=[False, True], ids=["process", "inside"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.syspath_prepend(str(HERE))
    with service(inside=request.param) as one:
        yield one


def with_three_prompts(one: Service) -> Service:
    one.call("set_volume", arrays={"image": IMAGE})
    for add in (1, 2, 3):
        one.call("prompt", {"add": add})
    one.call("undo")
    return one


def labels_of(one: Service) -> np.ndarray:
    return one.call("labels_of")[1]["labels"]


def failure(one: Service, name: str, arguments: dict | None = None) -> Failure:
    with pytest.raises(Failure) as caught:
        one.call(name, arguments)
    return caught.value


def ended(pid: int, within: float = 3.0) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def shared(prefix: str) -> list[str]:
    return [path.name for path in Path("/dev/shm").glob(prefix + "*")]


def test_values_and_arrays_go_there_and_come_back(either):
    arrays = {"flags": np.array([True, False]), "none": np.zeros((0, 3)), "image": IMAGE[:, ::-1]}
    result, back = either.call("echo", arrays=arrays)
    assert result == {}
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype and back[name].flags.writeable


def test_what_the_caller_changes_afterwards_is_not_what_it_asked_about(either):
    image = IMAGE.copy()
    call = either.submit("echo", arrays={"image": image})
    image[:] = 0
    np.testing.assert_array_equal(call.result()[1]["image"], IMAGE)


def test_calls_are_answered_in_their_order_and_polling_is_enough(either):
    with_three_prompts(either)
    calls = [either.submit("prompt", {"add": add}) for add in (10, 20)]
    while not calls[1].poll().done:
        time.sleep(0.005)
    assert calls[0].done and [call.result()[0]["number"] for call in calls] == [3, 4]


def test_progress_is_seen_while_a_call_runs(either):
    either.call("set_volume", arrays={"image": IMAGE})
    seen = set()
    either.call("prompt", {"add": 1, "slowly": 0.3}, progress=lambda fraction, stage: seen.add((fraction, stage)))
    assert (0.5, "Thinking") in seen


def test_a_refusal_is_a_sentence_and_costs_nothing(either):
    with_three_prompts(either)
    refused = failure(either, "refuse")
    assert (refused.kind, refused.text) == ("BadInput", "the point (1, 2, 3) mm (RAS) is outside the volume")
    assert either.restarts == 0 and (labels_of(either) == 3).all()


def test_a_fault_of_ours_tells_where_it_is_but_nothing_of_the_data(either):
    with_three_prompts(either)
    fault = failure(either, "stumble")
    assert fault.kind == "Crash" and "stand_in.py" in fault.text and "Jane Doe" not in fault.text
    assert either.restarts == 0 or (labels_of(either) == 3).all()


def test_a_cancelled_call_stops_where_it_reports_and_changes_nothing(either):
    with_three_prompts(either)
    call = either.submit("prompt", {"add": 5, "slowly": 30})
    call.wait(0.2)
    call.cancel()
    assert call.wait(2.0) and either.restarts == 0
    with pytest.raises(Failure, match="nothing was changed"):
        call.result()
    assert (labels_of(either) == 3).all()


def test_a_call_that_does_not_hear_is_ended_within_two_seconds_and_the_session_comes_back(either):
    with_three_prompts(either)
    call = either.submit("prompt", {"add": 5, "deaf": 5})
    call.wait(0.3)
    began = time.monotonic()
    call.cancel()
    assert call.wait(4) and time.monotonic() - began < 2.5  # 2 s, and room for a busy machine
    assert either.restarts == 1 and (labels_of(either) == 3).all()
    either.call("undo")  # what there was to undo is there, too
    assert (labels_of(either) == 1).all()


def test_a_call_that_still_waits_is_cancelled_at_once(either):
    first, second = either.submit("hello"), either.submit("hello")
    second.cancel()
    assert second.done and first.result()
    with pytest.raises(Failure):
        second.result()


def test_a_progress_that_raises_cancelled_stops_the_call(either):
    def stop(fraction: float, stage: str) -> None:
        raise Cancelled

    either.call("set_volume", arrays={"image": IMAGE})
    with pytest.raises(Cancelled):
        either.call("prompt", {"add": 1, "slowly": 30}, progress=stop)
    assert (labels_of(either) == 0).all()


def test_arguments_that_are_no_plain_values_are_refused_at_once(either):
    with pytest.raises(TypeError):
        either.submit("echo", {"array": IMAGE})
    assert either.call("hello")


@on_linux
def test_a_worker_killed_in_a_call_costs_that_call_only(running):
    with_three_prompts(running)
    killed = failure(running, "prompt", {"add": 5, "die": True})
    assert killed.kind == "Crash" and "ended from outside" in killed.text
    assert (labels_of(running) == 3).all() and running.call("labels_of")[0]["done"] == [1, 2]


@on_linux
def test_a_crash_in_a_library_is_told_and_its_place_logged(running, caplog):
    with_three_prompts(running)
    crashed = failure(running, "prompt", {"add": 5, "fall": True})
    assert crashed.kind == "Crash" and "ended unexpectedly (signal 11)" in crashed.text
    assert "Segmentation fault" in caplog.text and "stand_in.py" in caplog.text and (labels_of(running) == 3).all()


@on_linux
def test_a_worker_killed_while_nothing_runs_is_not_even_noticed(running):
    with_three_prompts(running)
    os.kill(running.pid, signal.SIGKILL)
    assert (labels_of(running) == 3).all() and running.restarts == 1


@on_linux
def test_a_worker_killed_while_it_restores_the_session_is_replaced_again(running):
    with_three_prompts(running)
    running.call("prompt", {"add": 5, "slowly": 0.5})
    os.kill(running.pid, signal.SIGKILL)
    call = running.submit("labels_of")
    while "Restoring" not in call.poll().stage:
        time.sleep(0.001)
    os.kill(running.pid, signal.SIGKILL)
    assert (call.result()[1]["labels"] == 8).all() and running.restarts == 2


@on_linux
def test_a_full_memory_is_said_so_and_the_session_goes_on_in_a_fresh_worker(running):
    with_three_prompts(running)
    before = running.pid
    assert failure(running, "prompt", {"add": 5, "fill": True}).kind == "OutOfMemory"
    assert (labels_of(running) == 3).all() and running.pid != before


def test_a_finished_segmentation_is_kept_and_not_asked_for_again(either):
    either.call("set_volume", arrays={"image": IMAGE})
    segmented = either.call("segment")[1]["labels"]
    either.call("prompt", {"add": 1})
    entries = either._journal.entries
    assert [(entry.name, entry.arguments) for entry in entries] == [("set_volume", {}), ("labels", {"names": {"1": "liver"}}), ("prompt", {"add": 1})]
    np.testing.assert_array_equal(entries[1].blocks["labels"].array, segmented)


def test_a_new_volume_forgets_what_was_done_to_the_old_one(either):
    with_three_prompts(either)
    either.call("set_volume", arrays={"image": IMAGE})
    assert [entry.name for entry in either._journal.entries] == ["set_volume"]


def test_a_broken_engine_says_what_is_missing(either):
    with service(inside=either.pid is None, engine="stand_in:Broken") as broken:
        missing = failure(broken, "hello")
        assert failure(broken, "hello").text == missing.text  # another worker is asked: it may be repaired by now
    assert missing.kind == "BadInput" and "lacks the package torch" in missing.text


def test_a_python_that_cannot_start_the_worker_is_told_with_its_last_words(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'libpython is gone' >&2\nexit 3\n")
    python.chmod(0o755)
    with service(python=str(python)) as one:
        told = failure(one, "hello")
        assert told.kind == "Crash" and "libpython is gone" in told.text
        assert failure(one, "hello").kind == "Crash"  # tried again, and no endless circle


def test_a_python_that_is_not_there_is_said_so_when_it_is_needed():
    with service(python="/nowhere/python") as one:
        assert one.pid is None and "There is no Python at /nowhere/python" in failure(one, "hello").text


@on_linux
def test_a_worker_keeps_the_memory_that_it_frees_unless_its_environment_says_otherwise():
    for more, kept in (({}, b"0"), ({"MALLOC_MMAP_MAX_": "7"}, b"7")):
        with service(env={**ENVIRONMENT, **more}) as one:
            one.call("set_volume", arrays={"image": IMAGE})
            assert b"MALLOC_MMAP_MAX_=" + kept in Path(f"/proc/{one.pid}/environ").read_bytes().split(b"\0")


def test_a_closed_service_says_so(either):
    call = either.submit("hello")
    either.close()
    assert call.done
    with pytest.raises(Failure, match="closed"):
        either.submit("hello")


def test_a_second_client_is_refused_and_one_without_the_key_never_heard(running):
    running.call("hello")
    with Client(running.worker.address, authkey=running.worker.key) as second:
        assert json.loads(second.recv_bytes())["error"] == "Busy"
    with pytest.raises((AuthenticationError, EOFError, OSError)):
        Client(running.worker.address, authkey=b"guessed")
    assert running.call("hello")


@on_linux
def test_nothing_is_left_of_a_closed_service():
    with service() as one:
        with_three_prompts(one)
        pid, prefix = one.pid, one._blocks.prefix
        one.submit("prompt", {"add": 1, "deaf": 5}).wait(0.1)
    assert ended(pid) and not shared(prefix)


CLIENT = """
import os, sys, time, numpy as np
from DiffSegCore.service import Service
one = Service(engine="stand_in:StandIn")
one.call("set_volume", arrays={"image": np.zeros((64, 64, 64), np.int16)})
call = one.submit("prompt", {"add": 1, "deaf": 20})
while not call.poll().stage.startswith("prompt"): time.sleep(.01)
print(one.pid, one._blocks.prefix, flush=True)
%s
"""


@on_linux
@pytest.mark.parametrize("last", ["os.kill(os.getpid(), 9)", "os._exit(1)", "raise SystemExit"], ids=["killed", "aborted", "ended"])
def test_when_the_client_is_gone_the_worker_and_its_memory_go_too(last):
    run = subprocess.run([sys.executable, "-c", CLIENT % last], env={**ENVIRONMENT, "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}"},
                         capture_output=True, text=True, timeout=60)
    pid, prefix = run.stdout.split()
    assert ended(int(pid)) and not shared(prefix)
    assert "leaked" not in run.stderr and "Traceback" not in run.stderr


EMBEDDED = """
import os, sys
sys.executable = ""
from DiffSegCore.service import Service
with Service(os.environ["ONE"], dict(os.environ), engine="stand_in:StandIn") as one:
    print(one.call("hello")[0]["pid"] == one.pid, sorted({"torch", "SimpleITK", "scipy", "monai"} & set(sys.modules)))
"""


def test_the_client_needs_numpy_only_and_no_executable_of_its_own():
    run = subprocess.run([sys.executable, "-c", EMBEDDED], env={**ENVIRONMENT, "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}", "ONE": sys.executable},
                         capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "True []", run.stderr


def test_a_worker_that_ends_before_it_answers_anything_is_not_tried_for_ever():
    with service(engine="stand_in:Stillborn") as one:
        told = failure(one, "hello")
        assert told.kind == "Crash" and one.restarts <= 2
        assert failure(one, "hello").kind == "Crash"


def test_a_question_and_its_answer_take_no_longer_than_they_need(running):
    running.call("hello")
    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        running.call("hello")
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.03  # TCP's wait for company alone would be .04

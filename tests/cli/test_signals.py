"""Signals end a task in order, once, from wherever it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from facefusion_runner import signals
from facefusion_runner.signals import Stop, StopOnSignal
from tests.support.file_server import file_server, stall

# A task that says "ready", then waits until `stop` is set, then ends in order.
ORDERLY = """
from facefusion_runner.signals import *
import sys, time
stop = Stop()
with StopOnSignal(stop):
    print("ready", flush=True)
    while not stop.wait(0.05):
        pass
    print("in order", flush=True)
sys.exit(4)
"""

# A task that does not look at `stop`: its main thread is inside one long C call.
STUCK = """
from facefusion_runner.signals import *
import hashlib, sys, threading
stop = Stop()
stop.on_abandon(lambda: print("first registered", flush=True))
stop.on_abandon(lambda: 1 / 0)
stop.on_abandon(lambda: print("last registered", flush=True))
def watch():
    stop.wait()
    print("stop is set", flush=True)
threading.Thread(target=watch, daemon=True).start()
with StopOnSignal(stop, patience=float(sys.argv[1])):
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""


@contextmanager
def process(*arguments: str, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests started under nohup would hand the ignored signal on.
        preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_DFL),
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def wait_for(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdout is not None
    assert child.stdout.readline().strip() == line


@pytest.mark.parametrize("number", signals.HANDLED, ids=lambda number: number.name)
def test_the_first_signal_lets_the_task_end_in_order(
    number: signal.Signals, clean_environment: dict[str, str]
) -> None:
    with process("-c", ORDERLY, env=clean_environment) as child:
        wait_for(child, "ready")
        child.send_signal(number)
        output, error = child.communicate(timeout=30)
    assert (output, error, child.returncode) == ("in order\n", "", 4)


def test_the_same_wish_sent_twice_at_once_counts_as_one(clean_environment: dict[str, str]) -> None:
    with process("-c", ORDERLY, env=clean_environment) as child:
        wait_for(child, "ready")
        child.send_signal(signal.SIGSTOP)
        child.send_signal(signal.SIGTERM)
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGCONT)
        output, error = child.communicate(timeout=30)
    assert (output, error, child.returncode) == ("in order\n", "", 4)


def test_a_repeated_wish_does_not_end_a_task_that_has_just_ended_in_order(
    clean_environment: dict[str, str],
) -> None:
    again = "os.kill(os.getpid(), signal.SIGINT)"
    script = ORDERLY.replace(
        "sys.exit(4)", f"import os, signal; {again}; print('on its way out'); sys.exit(4)"
    )
    with process("-c", script, env=clean_environment) as child:
        wait_for(child, "ready")
        child.send_signal(signal.SIGTERM)
        output, error = child.communicate(timeout=30)
    assert (output, error, child.returncode) == ("in order\non its way out\n", "", 4)


def test_a_later_signal_does_what_it_did_before_the_task(clean_environment: dict[str, str]) -> None:
    later = "import os, signal, time; time.sleep(REPEAT_SECONDS); os.kill(os.getpid(), signal.SIGTERM)"
    with process("-c", ORDERLY.replace("sys.exit(4)", later), env=clean_environment) as child:
        wait_for(child, "ready")
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=30)
    assert child.returncode == -signal.SIGTERM


def test_a_wish_repeated_while_python_ends_does_not_change_the_exit_code(
    clean_environment: dict[str, str],
) -> None:
    script = (
        "import atexit, os, signal, sys, time\n"
        "from facefusion_runner.signals import *\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
        "try:\n"
        "    with interrupted_by_signals():\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "except Interrupted:\n"
        "    sys.exit(4)\n"
    )
    with process("-c", script, env=clean_environment) as child:
        wait_for(child, "ready")
        child.send_signal(signal.SIGTERM)
        output, error = child.communicate(timeout=30)
    assert (output, error, child.returncode) == ("", "", 4)


def test_stop_is_set_while_the_main_thread_is_inside_a_long_c_call(
    clean_environment: dict[str, str],
) -> None:
    with process("-c", STUCK, "60", env=clean_environment) as child:
        wait_for(child, "ready")
        child.send_signal(signal.SIGTERM)
        wait_for(child, "stop is set")
        assert child.poll() is None


def test_a_second_signal_sets_things_aside_and_ends_at_once(clean_environment: dict[str, str]) -> None:
    with process("-c", STUCK, "60", env=clean_environment) as child:
        wait_for(child, "ready")
        child.send_signal(signal.SIGTERM)
        wait_for(child, "stop is set")
        time.sleep(signals.REPEAT_SECONDS + 0.2)
        child.send_signal(signal.SIGTERM)
        output, error = child.communicate(timeout=30)
    assert (output, error) == ("last registered\nfirst registered\n", "")
    assert child.returncode == signals.CANCELLED_EXIT


def test_a_task_that_does_not_end_in_time_is_set_aside(clean_environment: dict[str, str]) -> None:
    with process("-c", STUCK, "0.5", env=clean_environment) as child:
        wait_for(child, "ready")
        child.send_signal(signal.SIGTERM)
        output, error = child.communicate(timeout=30)
    assert output.splitlines() == ["stop is set", "last registered", "first registered"]
    assert (error, child.returncode) == ("", signals.CANCELLED_EXIT)


def test_what_the_parent_ignores_stays_ignored(clean_environment: dict[str, str]) -> None:
    script = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "os.execv(sys.executable, sys.argv[1:])"
    )
    with process("-c", script, sys.executable, "-c", ORDERLY, env=clean_environment) as child:
        wait_for(child, "ready")
        child.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        assert child.communicate(timeout=30)[0] == "in order\n"


def test_a_block_leaves_handlers_threads_and_descriptors_as_they_were() -> None:
    def state() -> tuple[object, ...]:
        handlers = [signal.getsignal(number) for number in signals.HANDLED]
        return handlers, threading.active_count(), len(os.listdir("/proc/self/fd"))

    before = state()
    for _ in range(20):
        with StopOnSignal(Stop()), signals.interrupted_by_signals():
            pass
    assert state() == before
    assert signal.set_wakeup_fd(-1) == -1


def test_other_signals_are_not_taken_for_a_wish_to_end() -> None:
    stop = Stop()
    before = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    try:
        with StopOnSignal(stop):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert not stop.wait(0.3)
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.wait(10)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def stalled_server() -> Iterator[str]:
    """The address of a file whose first 1000 bytes arrive and then nothing."""
    with file_server() as files:
        yield files.put("/weights.onnx", b"x" * 1_000_000, stall(1000))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_download_that_is_cancelled_ends_in_4_and_keeps_what_has_arrived(
    number: signal.Signals, stalled_server: str, clean_environment: dict[str, str]
) -> None:
    models = Path(clean_environment["MODEL_ROOT"])
    models.mkdir(parents=True)
    (models / "catalog.toml").write_text(catalog(stalled_server))
    arguments = ("-m", "facefusion_runner", "models", "pull", "slow", "--progress", "json")
    with process(*arguments, env=clean_environment) as child:
        assert child.stdout is not None
        arrived = json.loads(child.stdout.readline())["frames"]
        child.send_signal(number)
        output, error = child.communicate(timeout=30)
    assert child.returncode == 4
    assert error == "error: interrupted\n"
    assert json.loads(output.splitlines()[-1])["error"]["code"] == "cancelled"
    assert 0 < arrived <= (models / ".downloads" / "slow.part").stat().st_size == 1000
    assert not (models / "slow.onnx").exists()


def catalog(url: str) -> str:
    return f"""
[licences.own]
name = "Own"
url = "https://example.org/licence"
commercial = true
needs_acceptance = false

[[models]]
id = "slow"
role = "encoder"
family = "arcface"
file = "slow.onnx"
bytes = 1000000
sha256 = "{"0" * 64}"
licence = "own"
urls = ["{url}"]
"""

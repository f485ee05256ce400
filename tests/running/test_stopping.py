"""Signals, in a process of their own: noted at once, wherever the process is."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import sys, time
from elir_jax.running.stopping import StopRequest
with StopRequest() as stop:
    stop.nothing_to_save = {free}
    print("ready", flush=True)
    if {blocked}:  # inside one long call, as during a compilation: no Python handler runs
        import hashlib; hashlib.pbkdf2_hmac("sha256", b"", b"", 10**8)
    while stop.signum is None:
        time.sleep(0.01)
    print("noted", stop.signum, flush=True)
    time.sleep(30)
"""


@contextlib.contextmanager
def start(free=False, blocked=False, before=(), stderr=subprocess.PIPE):
    process = subprocess.Popen(
        [*before, sys.executable, "-c", PROGRAM.format(free=free, blocked=blocked)],
        text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
    )  # fmt: skip
    with process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_noted_and_the_second_ends_at_once(signum):
    with start() as process:
        process.send_signal(signum)
        assert process.stdout.readline() == f"noted {signum.value}\n"
        process.send_signal(signum)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 128 + signum
    assert "stopping after this step" in err and "stopped at once" in err


def test_a_hangup_that_is_ignored_stays_ignored():
    with start(before=["nohup"]) as process:
        process.send_signal(signal.SIGHUP)
        process.terminate()
        assert process.stdout.readline() == f"noted {signal.SIGTERM.value}\n"


def test_signals_are_heard_where_nobody_can_be_told(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with start(stderr=writing) as process:
        os.close(writing)
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == f"noted {signal.SIGHUP.value}\n"
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=20) == 129


def test_where_nothing_is_to_be_saved_the_first_one_ends():
    with start(free=True) as process:
        process.terminate()
        _, err = process.communicate(timeout=20)
    assert process.returncode == 143 and "nothing was lost" in err


@pytest.mark.parametrize("free", [True, False])
def test_a_process_inside_a_long_call_is_ended_too(free):
    with start(free=free, blocked=True) as process:
        process.terminate()
        if not free:
            while "stopping" not in process.stderr.readline():
                pass
            process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 143

"""SIGTERM sets the event whatever the main thread is at; played in a process of its own, since the signal is blocked there for good."""

import signal
import subprocess
import sys

WHILE_LOOKING = """
import os, signal, time
from gatebook.serve.stopping import stopped_by_sigterm
stop = stopped_by_sigterm()
with stop._cond:  # as the main thread holds it for a moment in each wait()
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(1000):
        time.sleep(0.0001)
print(stop.wait(30))
"""
WHILE_WAITING = """
from gatebook.serve.stopping import stopped_by_sigterm
stop = stopped_by_sigterm()
print("waiting", flush=True)
print(stop.wait(30))
"""


def test_a_signal_that_comes_while_the_event_is_looked_at_is_not_waited_for() -> None:
    done = subprocess.run([sys.executable, "-c", WHILE_LOOKING], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "True\n")


def test_whoever_waits_is_woken() -> None:
    with subprocess.Popen([sys.executable, "-c", WHILE_WAITING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "True\n"
        assert process.wait(30) == 0

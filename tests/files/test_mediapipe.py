"""Loading mediapipe: its chatter is kept off standard error, and nothing else is."""

from __future__ import annotations

import subprocess
import sys

SILENCED = """
import os, sys, threading
from avatarkit.commands import console
from avatarkit.files.mediapipe import silenced

inside, over = threading.Event(), threading.Event()

def load():
    with silenced():
        os.write(2, b"chatter of C++\\n")
        inside.set()
        over.wait()

threads = [threading.Thread(target=load) for _ in range(2)]
for thread in threads:
    thread.start()
inside.wait()
usual = sys.__stderr__
console.note("said while another thread loads")
{then}
over.set()
for thread in threads:
    thread.join()
assert sys.stderr is usual
os.write(2, b"heard again\\n")
console.note("and so is Python")
"""


def stderr(then: str = "") -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SILENCED.format(then=then)],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr.splitlines()


def test_only_the_chatter_of_loading_is_lost() -> None:
    said = ["said while another thread loads", "heard again", "and so is Python"]
    assert stderr() == (0, said)


def test_an_error_is_heard_while_another_thread_still_loads() -> None:
    end = "print('avatarkit: interrupted', file=sys.stderr); sys.stderr.flush(); os._exit(130)"
    assert stderr(end) == (130, ["said while another thread loads", "avatarkit: interrupted"])

"""Draws an atlas while its process, or the workers of a cluster, are killed at random moments.

    python tests/atlas_faults.py process 20     # SIGKILL of the process that draws, 20 times
    python tests/atlas_faults.py workers 10     # SIGKILL of a worker of two, 10 times

Draws all of PocketVGG, in float32, and compares every file with those of an undisturbed run; ends with
a line that says how it went, or with the assertion that failed. `tests/test_atlas.py` does the same with
two small layers (`--small`).
"""

import functools
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import helpers
from filtersight.trust import scores
from filtersight.world import pocketvgg

SMALL = "--small" in sys.argv
OPTIONS = {"precision": "float32"}
if SMALL:
    OPTIONS |= {"layers": ["block1_conv1", "block1_conv2"], "size": 32, "steps": 8}
    if "process" in sys.argv:  # the workers have a course of their own
        # Most of the time of so small a run would go into the real images that it is compared with.
        scores.reality = functools.partial(scores.reality, count=45)


def draw(folder, client=None):
    return helpers.atlas(pocketvgg.load(), folder, client=client, **OPTIONS)


def state(folder):
    """Of every picture in the folder its inode, its time and its bytes."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_ino,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in folder.glob("*/*.png")
    }


def in_a_fork(folder):
    """Begins to draw in a process of its own, and gives its number.

    TensorFlow is imported before, once, but computes nothing before: so it can be forked.
    """
    child = os.fork()
    if child == 0:
        try:
            draw(folder)
            os._exit(0)
        finally:
            os._exit(1)
    return child


def ended(child):
    """The exit status of a child, None while it runs."""
    number, status = os.waitpid(child, os.WNOHANG)
    return None if number == 0 else os.waitstatus_to_exitcode(status)


def undisturbed(folder):
    """The time that a run takes without faults, and the bytes of its pictures."""
    begun = time.perf_counter()
    child = in_a_fork(folder)
    while (status := ended(child)) is None:
        time.sleep(0.05)
    assert status == 0
    return time.perf_counter() - begun, {file: end[2] for file, end in state(folder).items()}


def kill_the_process(times, folder, seconds, expected):
    """Kills the run so often, at random moments; checks after each that what was there is untouched."""
    chance, killed, before = random.Random(0), 0, {}
    seconds_alone = 6 if not SMALL else 2  # until the first picture: model, graph
    while True:
        child, patience = in_a_fork(folder), chance.uniform(0, seconds_alone + seconds / times)
        deadline = time.perf_counter() + patience
        while (status := ended(child)) is None:
            if killed < times and time.perf_counter() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                killed += 1
                break
            time.sleep(0.005)
        after = state(folder)
        lost = before.keys() - after.keys()
        redone = [file for file in before.keys() & after.keys() if before[file] != after[file]]
        damaged = [file for file, (_, _, sha256) in after.items() if expected[file] != sha256]
        assert not lost and not redone and not damaged, (lost, redone, damaged)
        before = after
        if status is not None:
            assert status == 0
            break
    assert after.keys() == expected.keys()
    assert not [*folder.glob("**/*.tmp")]
    print(f"killed {killed} times, {len(after)} pictures: none lost, none redone, none damaged")


def kill_the_workers(times, folder, seconds, expected):
    """Kills one of two workers so often, first when it has work, then at random moments, while they draw."""
    import threading

    from distributed import LocalCluster

    chance, killed, over = random.Random(0), [], threading.Event()

    def kill_some(cluster):
        states = cluster.scheduler.workers
        while len(killed) < times and not over.is_set():
            over.wait(chance.uniform(0, 2 * seconds / times) if killed else 0.05)
            busy = [
                nanny.process.pid
                for nanny in cluster.workers.values()
                if nanny.process
                and nanny.worker_address in states
                and states[nanny.worker_address].processing
            ]
            if busy:
                number = chance.choice(busy)
                os.kill(number, signal.SIGKILL)
                killed.append(number)

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        cluster.get_client() as client,
    ):
        killer = threading.Thread(target=kill_some, args=[cluster])
        killer.start()
        draw(folder, client)
        over.set()
        killer.join()
    found = {file: end[2] for file, end in state(folder).items()}
    assert found == expected, {f for f in expected if found.get(f) != expected[f]}
    print(f"{len(killed)} workers killed, {len(found)} pictures, the same bytes as without Dask")


if __name__ == "__main__":
    what, times = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as place:
        seconds, expected = undisturbed(Path(place) / "expected")
        print(f"undisturbed: {seconds:.0f} s, {len(expected)} pictures", flush=True)
        faults = {"process": kill_the_process, "workers": kill_the_workers}[what]
        faults(times, Path(place) / "atlas", seconds, expected)

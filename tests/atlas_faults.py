"""Draws an atlas while its process, or the workers of a cluster, are killed at random moments.

    python tests/atlas_faults.py process 20     # SIGKILL of the process that draws, 20 times
    python tests/atlas_faults.py workers 10     # SIGKILL of a worker of two, 10 times

Draws all of PocketVGG, in float32, and compares every file with those of an undisturbed run; ends with
a line that says how it went, or with the assertion that failed. `tests/test_atlas.py` does the same with
a small network: `process 2 --small`, and a worker of the cluster that its other tests use, too.
"""

import hashlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from test_helpers import small_network

import helpers
from filtersight.atlas import drawing
from filtersight.world import pocketvgg, sample

SMALL = "--small" in sys.argv
OPTIONS = {"precision": "float32"}


def draw(folder, client=None):
    if not SMALL:
        return helpers.atlas(pocketvgg.load(), folder, client=client, **OPTIONS)
    return helpers.atlas(small_network(), folder, size=32, steps=6, **OPTIONS)


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
    """Kills the run so often, at random moments; checks after each that what was there is untouched.

    A small run is not timed: it is killed when one more picture is there.
    """
    chance, killed, before = random.Random(0), 0, {}
    seconds_alone = 6  # until the first picture: model, graph
    while True:
        child, patience = in_a_fork(folder), chance.uniform(0, seconds_alone + seconds / times)
        deadline = time.perf_counter() + patience
        while (status := ended(child)) is None:
            late = time.perf_counter() > deadline
            if killed < times and (len(state(folder)) > len(before) if SMALL else late):
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


def killing(cluster, times, seconds, run):
    """Calls `run()`, and kills a worker so often, first when it has work, then at random moments within
    about so many seconds; gives the numbers of the processes that were killed."""
    chance, killed, over = random.Random(0), [], threading.Event()

    def kill_some():
        states = cluster.scheduler.workers
        while len(killed) < times and not over.is_set():
            over.wait(chance.uniform(0, 2 * seconds / times) if killed else 0.01)
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

    killer = threading.Thread(target=kill_some)
    killer.start()
    try:
        run()
    finally:
        over.set()
        killer.join()
    return killed


def kill_the_workers(times, folder, seconds, expected):
    """Kills one of two workers so often while they draw."""
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        cluster.get_client() as client,
    ):
        killed = killing(cluster, times, seconds, lambda: draw(folder, client))
    found = {file: end[2] for file, end in state(folder).items()}
    assert found == expected, {f for f in expected if found.get(f) != expected[f]}
    print(f"{len(killed)} workers killed, {len(found)} pictures, the same bytes as without Dask")


if __name__ == "__main__":
    what, times = sys.argv[1], int(sys.argv[2])
    if SMALL:
        drawing.BATCH, images = 2, sample.images
        # Most of the time of so small a run would go into the real images that it is compared with.
        sample.images = lambda count, *more, **options: images(45, *more, **options)
    with tempfile.TemporaryDirectory() as place:
        seconds, expected = undisturbed(Path(place) / "expected")
        print(f"undisturbed: {seconds:.0f} s, {len(expected)} pictures", flush=True)
        faults = {"process": kill_the_process, "workers": kill_the_workers}[what]
        faults(times, Path(place) / "atlas", seconds, expected)

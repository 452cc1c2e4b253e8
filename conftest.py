"""Settings that the tests and the notebooks share."""

import os

from xdist.scheduler import LoadScopeScheduling

# The committed outputs are PocketVGG's; kernels started by the tests inherit this.
os.environ["COURSE_MODEL"] = "pocketvgg"


def pytest_collectstart(collector):
    """Leaves stderr out of the comparison: TensorFlow's remarks on the processor and progress bars land there."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)


class Scheduler(LoadScopeScheduling):
    """Keeps what shares fixtures or a kernel in one process; each chapter with its solutions stands alone."""

    def _split_scope(self, nodeid):
        return nodeid if "test_the_solutions_are_right" in nodeid else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config, log):
    return Scheduler(config, log)

"""Settings that the tests and the notebooks share."""

import os

# The committed outputs are PocketVGG's; kernels started by the tests inherit this.
os.environ["COURSE_MODEL"] = "pocketvgg"


def pytest_collectstart(collector):
    """Leaves stderr out of the comparison: TensorFlow's remarks on the processor and progress bars land there."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)

"""Settings of the tests."""

import chapters  # noqa: F401, sets the environment of this process, too

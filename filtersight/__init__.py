"""What CNN filters see: the code behind the course's notebooks. helpers.py lists what they use.

Folders import only from those before them: basics, world, networks, ascent, trust, explorer, atlas;
training stands beside them.
"""

import io
import os
import sys

from filtersight.basics.course import check_surroundings

# TensorFlow writes lines about the processor and missing GPUs to the terminal unless told before import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Its fast convolutions are the default only on processors with AVX-512; with AVX2 they are fast, too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# What a terminal cannot write, as × in ASCII, becomes a question mark, not an error.
for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper) and "utf" not in stream.encoding.lower():
        stream.reconfigure(errors="replace")

check_surroundings()

"""Benchmarks: run by hand, never as tests."""

import os

# As the composition root sets it; the benchmarks import numpy before that.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

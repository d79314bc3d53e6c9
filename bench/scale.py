"""A hundred thousand jobs on eight thousand GPUs, to their end. Takes minutes, so only by its name."""

import sys

from .figures import Figure, show
from .jobs import measure as measure_jobs

JOBS, NODES = 100_000, 1_000


def measure() -> list[Figure]:
    return measure_jobs([(JOBS, NODES)])


if __name__ == "__main__":
    show([measure], sys.argv[1:])

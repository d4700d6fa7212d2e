"""Read before torch is imported: threads that wait sleep, as under the command line (docs/decisions.md)."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:  # tests run side by side, one process a core; more threads only wait
    os.environ.setdefault("OMP_NUM_THREADS", "1")

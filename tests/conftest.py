"""Read before torch is imported: threads that wait sleep, as under the command line (docs/decisions.md)."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

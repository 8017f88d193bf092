"""What all tests share: settings that libraries read when they are imported, and hypothesis's profiles."""

import os
import tempfile

# Before anything imports torch or transformers. A test that needs a network is a broken test.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Waiting threads would spin on the cores that the next step needs; pytest-xdist shares the cores out.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
# Solved policies are kept in a folder of the run's own.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="spiral-tests-")
# No window, whatever the machine.
os.environ["MPLBACKEND"] = "agg"

from hypothesis import settings

# Examples are not timed: the machine is shared, and pytest-timeout ends what hangs.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

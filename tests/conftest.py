"""Tests keep compiled programs in a folder of their own, shared with the processes that they start."""

import os
import tempfile

os.environ.setdefault("QUICKSTUDY_CACHE", os.path.join(tempfile.gettempdir(), "quickstudy-tests-compiled"))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

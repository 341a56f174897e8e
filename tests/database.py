"""A pytest plugin: a PostgreSQL of its own for the test run, in a folder that vanishes with it.

Loaded by `-p` in pyproject.toml, hence before Django's settings are read.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]

from crucible.postgres import EmbeddedPostgres  # noqa: E402  (needs the path above)

HOME = Path(tempfile.mkdtemp(prefix="crucible-test-"))
HOME.chmod(0o711)  # as root the server runs as `nobody`, who must be able to walk in
os.environ["CRUCIBLE_HOME"] = str(HOME)
os.environ["OMP_NUM_THREADS"] = "1"
for name in ("CRUCIBLE_TOKEN", "CRUCIBLE_SERVER", "CELERY_BROKER_URL"):
    os.environ.pop(name, None)

if "DATABASE_URL" not in os.environ:
    _server = EmbeddedPostgres(HOME)
    os.environ["DATABASE_URL"] = _server.start()
    atexit.register(lambda: (_server.stop(), shutil.rmtree(HOME, ignore_errors=True)))

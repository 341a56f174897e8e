"""The site's own settings, with the quick stages and the clock of the fault suite."""

import os
from pathlib import Path

from crucible.settings import *  # noqa: F403
from crucible.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.apps.FaultsConfig"]
FAULTS_CLOCK = Path(os.environ["FAULTS_CLOCK"])

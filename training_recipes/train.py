"""Stage `train`: packed rows to a model directory, by the recipe of a scale.

The unfinished run lies beside the output, in `.<name>.partial`; the output appears when it is
complete. A run that was interrupted, however hard, goes on to the same weights.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from submissions.failures import Failure
from submissions.hashing import folder_sha256
from submissions.job import Artifact, Job, StageResult, run_stage, write_json_atomically
from submissions.progress import Progress, no_progress
from training_recipes.packed_rows import Summary, folder_hash, read_summary
from training_recipes.scales import Scale, load_scale
from training_recipes.tokenizer import tokenizer_folder, tokenizer_sha256

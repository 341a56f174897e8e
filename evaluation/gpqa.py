"""GPQA's task files, made from its protected archive.

Its authors ask that the questions never appear on the web in clear text, so that no training corpus
takes them up. They publish a zip archive, with its password beside it. Nothing of it is in this
repository; the two files are made where they are needed and stay in the folder of task files.

How DCLM makes them (eval/eval_openlm_ckpt.py, commit 361714b): each row of the CSV becomes a
question with four choices, put as (correct, incorrect 1, 2, 3) and shuffled by one generator a
file, random.Random(42), in the order of the rows.
"""

from __future__ import annotations

import csv
import io
import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

from submissions.failures import Failure

# The archive of GPQA's authors as DCLM carries it, eval/gpqa/dataset.zip: 2,348,038 bytes.
ARCHIVE_SHA1 = "80788cb325c4d63bbccad56c2e393b33389348fe"  # git blob
PASSWORD = b"deserted-untie-orchid"  # published by the authors in the README beside the archive
CHOICES = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
SEED = 42


def build_task_file(archive: Path, name: str, target: Path) -> None:
    """Writes the task file `name` (gpqa_main.jsonl, gpqa_diamond.jsonl) from the archive.

    Raises `task_file_invalid` where the archive cannot be read.
    """
    member = f"dataset/{Path(name).stem}.csv"
    try:
        with zipfile.ZipFile(archive) as opened:
            text = opened.read(member, pwd=PASSWORD).decode("utf-8")
        lines = [json.dumps(question) + "\n" for question in questions(text)]
    except (zipfile.BadZipFile, KeyError, ValueError, RuntimeError, OSError) as error:
        # RuntimeError: zipfile's word for a password that does not fit.
        raise Failure(
            "task_file_invalid", f"{archive}: {member} cannot be read from it: {error}"
        ) from error
    target.write_text("".join(lines), encoding="utf-8")


def questions(text: str) -> Iterator[dict[str, str | list[str] | int]]:
    """The questions of one of the archive's CSV files, choices shuffled as DCLM does."""
    generator = random.Random(SEED)  # noqa: S311 - the same order as everywhere
    for row in csv.DictReader(io.StringIO(text, newline="")):
        order = list(range(len(CHOICES)))
        generator.shuffle(order)
        yield {
            "query": row["Question"],
            "choices": [row[CHOICES[number]] for number in order],
            "gold": order.index(0),
        }

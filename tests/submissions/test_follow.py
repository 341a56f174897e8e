"""What `crucible status --wait` draws while it follows a submission."""

from __future__ import annotations

from submissions.commands import show_progress
from submissions.progress import TerminalProgress


class Bars:
    """Notes every bar that is begun, with its last step."""

    def __init__(self):
        self.bars, self.open = [], False

    def __call__(self, step, of, unit, message="", **metrics):
        if not self.open:
            self.bars.append([message, step])
        self.open = True
        self.bars[-1][1] = step

    def close(self):
        self.open = False


def test_each_stage_begins_with_a_bar_of_its_own():
    """Two stages may count the same unit up to the same total."""

    def document(**states):
        return {
            "stages": [
                {"stage": name, "state": state, "step": step, "of": 2, "unit": "step",
                 "metrics": {"loss": 1.0, "note": "text"}}
                for name, (state, step) in states.items()
            ]
        }  # fmt: skip

    bars, shown = Bars(), ""
    for states in (
        {"validate": ("running", 2), "scan": ("waiting", None)},
        {"validate": ("succeeded", 2), "scan": ("running", 1), "tokenize": ("launching", None)},
        {"validate": ("succeeded", 2), "scan": ("running", 2), "tokenize": ("running", None)},
        {"validate": ("succeeded", 2), "scan": ("succeeded", 2), "tokenize": ("running", 1)},
        {"tokenize": ("succeeded", 2), "train": ("queued", None)},
    ):
        shown = show_progress(bars, document(**states), shown)
    assert bars.bars == [["validate", 2], ["scan", 1], ["tokenize", 1]]
    assert (shown, bars.open) == ("", False)


def test_a_bar_that_was_closed_can_be_begun_again(capsys):
    progress = TerminalProgress()
    for _ in range(2):
        progress(1, 2, "step", "tokenize")
        progress.close()
    assert capsys.readouterr().err.count("tokenize") >= 2

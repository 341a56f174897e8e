"""What each scale is good for and what its ranking of datasets predicts, with the source.

No part of a recipe: better evidence changes these words and no hash.
"""

from __future__ import annotations

from dataclasses import dataclass

TRYING, SELECTING, DECIDING = "trying out", "pre-selection", "decision"


@dataclass(frozen=True)
class Purpose:
    """`use` is trying out, pre-selection or decision; `predicts` says what its ranking shows."""

    use: str
    predicts: str


_PLUMBING = (
    "nothing: it shows that the whole pipeline works, and ranks datasets at its own size alone"
)
_TINY = (
    "next to nothing: answers are near chance and most FLOPs are the output matrix's; compare "
    "datasets by the loss on held-out text"
)
# DataDecide's sentence is of 150 million parameters against one billion.
_SMALL = (
    "which datasets are clearly worse: at 150 million parameters about 80 % of pairs are ordered "
    "as at a billion (DataDecide, arXiv:2504.11393)"
)
_TWIN = (
    "whether an order of {} depends on its learning rate: compare by the loss on held-out text, "
    "and call a pair undecided whose order differs (arXiv:2512.24503)"
)
_DCLM = "{}, counted over the datasets that DCLM published at both"

PURPOSES = {
    "cpu-300k": Purpose(TRYING, _PLUMBING),
    "smoke": Purpose(TRYING, _PLUMBING),
    "11m-1x": Purpose(TRYING, _TINY),
    "11m-lowlr": Purpose(TRYING, _TWIN.format("11m-1x")),
    "36m-1x": Purpose(TRYING, _TINY),
    "36m-lowlr": Purpose(TRYING, _TWIN.format("36m-1x")),
    "79m-1x": Purpose(SELECTING, _SMALL),
    "79m-lowlr": Purpose(SELECTING, _TWIN.format("79m-1x")),
    "154m-1x": Purpose(SELECTING, _SMALL),
    "154m-lowlr": Purpose(SELECTING, _TWIN.format("154m-1x")),
    "400m-1x": Purpose(
        DECIDING,
        _DCLM.format("the order of 84 % of pairs at 7b-1x (11 datasets), 73 % at 1b-1x (12)"),
    ),
    "1b-1x": Purpose(DECIDING, _DCLM.format("the order of 83 % of pairs at 7b-1x (15 datasets)")),
    "1b-5x": Purpose(
        DECIDING,
        "the order at 1b-1x is its own for 93 % of pairs (8 datasets of DCLM); no pairs with 7b-1x",
    ),
    "3b-1x": Purpose(DECIDING, "unknown: DCLM published no run of it"),
    "7b-1x": Purpose(DECIDING, "the order at its own size; the reference for smaller scales"),
    "7b-2x": Purpose(DECIDING, "the order at its own size, the largest of the competition"),
}

"""Token windows: a pure function of (seed, step) for training, a fixed sample for evaluation.

Axes: B rows of a batch, W tokens of a row, N tokens of a split.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from archs.errors import UserError
from experiments.data.store import Tokens
from objectives.base import Windows


class WindowStream:
    """The training text in rows of one width, in an order that is the same for every arm.

    The N tokens are cut into N // width rows; the last few tokens fill no row and are left out. Each epoch is
    a permutation of all rows that depends on (seed, epoch) alone. Step s takes the next `rows` rows after
    those of step s - 1, across the end of an epoch too. So each row is read once an epoch, and any step can
    be computed without the steps before it.
    """

    def __init__(self, part: Tokens, rows: int, width: int, seed: int) -> None:
        self.offsets = part.offsets
        self.rows, self.width, self.seed = rows, width, seed
        self.rows_per_epoch = len(part.tokens) // width
        if self.rows_per_epoch < rows:
            raise UserError(
                f"the training text is shorter than one batch: {len(part.tokens):,} tokens where {rows} rows "
                f"of {width} need {rows * width:,}; lower training.batch or size.length, or give more text"
            )
        self._tokens = self._in_rows(part.tokens)
        self._marks = None if part.marks is None else self._in_rows(part.marks)
        self._orders: dict[int, np.ndarray] = {}

    def epochs(self, step: int) -> float:
        """Returns how many epochs are read after `step` steps."""
        return step * self.rows / self.rows_per_epoch

    def row_numbers(self, step: int) -> np.ndarray:
        """Returns which rows of the text step `step`, from 0, reads: (B) int64."""
        places = step * self.rows + np.arange(self.rows)
        epochs, within = np.divmod(places, self.rows_per_epoch)
        chosen = np.empty(self.rows, dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            chosen[here] = self._order(int(epoch))[within[here]]
        return chosen

    def __call__(self, step: int) -> Windows:
        """Returns the rows (B,W) of step `step`.

        segments: None if no row holds the boundary of two documents.
        """
        chosen = self.row_numbers(step)
        return Windows(
            torch.from_numpy(self._tokens[chosen].astype(np.int64)),
            self._segments(chosen * self.width),
            marks=None if self._marks is None else torch.from_numpy(self._marks[chosen]),
        )

    def _in_rows(self, values: np.ndarray) -> np.ndarray:
        """Returns values (N) as (rows_per_epoch, W), still memory-mapped."""
        return np.asarray(values[: self.rows_per_epoch * self.width]).reshape(-1, self.width)

    def _segments(self, starts: np.ndarray) -> Tensor | None:
        """Numbers the documents of the rows that begin at these places (B): (B,W), from 0 in each row."""
        first, last = (
            np.searchsorted(self.offsets, cells, side="right") for cells in (starts, starts + self.width - 1)
        )
        if (first == last).all():
            return None
        cells = starts[:, None] + np.arange(self.width)
        return torch.from_numpy(np.searchsorted(self.offsets, cells, side="right") - first[:, None])

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.rows_per_epoch)
            # A batch can lie across two epochs; older orders are not needed again.
            self._orders = {number: kept for number, kept in self._orders.items() if number == epoch - 1}
            self._orders[epoch] = order
        return self._orders[epoch]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Windows for evaluation, each inside one document.

    tokens (n,W) int64; documents (n) int64: the document of each row; marks: as in Windows.
    """

    tokens: Tensor
    documents: np.ndarray
    marks: Tensor | None = None


def held_out(part: Tokens, n: int, width: int, seed: int = 0) -> HeldOut:
    """Returns at most n windows of `width` tokens, each inside one document, without its eos.

    They do not overlap. They are a uniform sample fixed by `seed`, in the text's order; all windows if there
    are fewer than n. Raises UserError if no document is long enough.
    """
    # How many windows fit into each document, its eos left out.
    fitting = np.maximum((np.diff(part.offsets) - 1) // width, 0)
    documents = np.repeat(np.arange(part.documents), fitting)
    within = np.arange(len(documents)) - np.repeat(fitting.cumsum() - fitting, fitting)
    if len(documents) == 0:
        longest = int(np.diff(part.offsets).max()) - 1
        raise UserError(
            f"no held-out document has {width} tokens (the longest: {longest}); lower size.length or give "
            "longer documents"
        )
    order = np.random.default_rng(seed).permutation(len(documents))
    chosen = np.sort(order[:n])
    starts = part.offsets[documents[chosen]] + within[chosen] * width
    cells = starts[:, None] + np.arange(width)
    tokens = torch.from_numpy(part.tokens[cells].astype(np.int64))
    return HeldOut(tokens, documents[chosen], _cells(part.marks, cells))


def _cells(marks: np.ndarray | None, cells: np.ndarray) -> Tensor | None:
    return None if marks is None else torch.from_numpy(marks[cells])

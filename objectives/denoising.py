"""Denoising: the text is predicted from a corrupted copy of it (Lewis et al. 2020, BART)."""

from __future__ import annotations

from functools import partial

import torch

from archs.errors import UserError, unknown
from objectives.base import Layout, Vocabulary, Windows
from objectives.noise import (
    POISSON_MEAN,
    Noise,
    deletion,
    infilling,
    masking,
    rotation,
    sentence_permutation,
)
from objectives.reconstruction import Reconstruction

NOISES: dict[str, Noise] = {
    "masking": masking,
    "deletion": deletion,
    "infilling": infilling,
    "sentence_permutation": sentence_permutation,
    "rotation": rotation,
}
BART_LARGE = [{"sentence_permutation": 1.0}, {"infilling": 0.3}]


class Denoising(Reconstruction):
    """The source is the text after all noises, the target is the text itself.

    noises: each `{name: share}`, applied in this order. The share is of the tokens for masking, deletion and
    infilling, of the documents for sentence_permutation and rotation. mean: mean length of the spans that
    infilling hides. With infilling only, of 41 and 42:

    >>> denoising = Denoising(VOCABULARY, "source_target", noises=[{"infilling": 0.5}], mean=100)
    >>> batch = denoising.build(windows([[40, 41, 42, 43, 2]]), seeded(2))
    >>> show(batch, "source", "tokens", "targets")
    source   40  3 43  2  0
    tokens    1 40 41 42 43
    targets  40 41 42 43  2

    For a continuation, the source is the context and one [MASK]; without infilling it has a [MASK] for each
    token if there is masking, else none. BART's own infilling hides whole words.
    """

    name = "denoising"
    moves_text = True
    families = ("encoder_decoder",)

    def __init__(
        self,
        vocabulary: Vocabulary,
        layout: Layout,
        noises: list[dict[str, float]] = BART_LARGE,
        mean: float = POISSON_MEAN,
    ) -> None:
        super().__init__(vocabulary, layout)
        if not 1 <= mean <= 100:
            raise UserError(
                f"objective 'denoising': mean={mean} is not from 1 to 100; BART's is {POISSON_MEAN}"
            )
        if not noises:
            raise UserError(
                f"objective 'denoising': noises is empty, so there is nothing to undo; list some of: "
                f"{', '.join(NOISES)}"
            )
        self.names = [_checked(entry) for entry in noises]
        if {"masking", "infilling"} & set(self.names):
            vocabulary.require(("mask",), self.name)
        if "sentence_permutation" in self.names and vocabulary.sentence_ends is None:
            raise UserError(
                "objective 'denoising': the noise 'sentence_permutation' needs to know which pieces end a "
                "sentence; give the vocabulary sentence_ends (V) bool, or leave this noise out of noises"
            )
        known = {**NOISES, "infilling": partial(infilling, mean=mean)}
        self.noises = [(known[name], share) for entry in noises for name, share in entry.items()]

    def damaged(self, windows: Windows, rng: torch.Generator) -> Windows:
        for noise, share in self.noises:
            windows = noise(windows, share, self.vocabulary, rng)
        return windows

    def unknown(self, length: int) -> int:
        if "infilling" in self.names:
            return 1
        return length if "masking" in self.names else 0


def _checked(entry: dict[str, float]) -> str:
    """An entry's name. Raises UserError unless it is `{name: share}` of a known noise, 0 < share <= 1."""
    if len(entry) != 1:
        raise UserError(
            f"objective 'denoising': noises has the entry {entry}; write one noise an entry, such as "
            "[{deletion: 0.1}, {rotation: 1.0}]"
        )
    ((name, share),) = entry.items()
    if name not in NOISES:
        raise unknown("noise of objective 'denoising'", name, NOISES)
    if not 0 < share <= 1:
        raise UserError(f"objective 'denoising': {name}: {share} is not a share above 0 and at most 1")
    return name

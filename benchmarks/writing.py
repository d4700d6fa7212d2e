"""Speed of writing the test of a generation task, by untrained families of the default size.

    python -m benchmarks.writing [TEXTS]

Sources have 24 to 64 tokens. Each text has 48 tokens, the most allowed, so this is the highest cost of so
many texts. Measured in processor time of one thread, so that other work on the machine counts little.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import torch

from archs import CoreConfig, build
from experiments.evaluation.finetuned.writing import write
from objectives.base import Vocabulary
from objectives.conditional import Conditional

VOCABULARY, SPECIAL, LONGEST, BEAMS = 4096, 72, 48, 4


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    special = torch.arange(VOCABULARY) < SPECIAL
    words = Vocabulary(VOCABULARY, special, special, pad=0, bos=1, eos=2, mask=3)
    texts = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    lengths = torch.randint(24, 65, (texts,)).tolist()
    sources = [torch.randint(SPECIAL, VOCABULARY, (length,)).tolist() for length in lengths]
    for name in ("prefix_lm", "encoder_decoder", "decoder_ar", "permuted_lm", "encoder_ae"):
        shape = CoreConfig(VOCABULARY, layers=4, width=128, heads=4, ffn=512, max_length=128)
        if name == "encoder_decoder":
            shape = replace(shape, layers=2, decoder_layers=2)
        family = build(name, shape).eval()
        begun = time.process_time()
        write(family, Conditional(words, family.layout), sources, LONGEST, BEAMS)
        print(f"{name:16} {texts / (time.process_time() - begun):5.1f} texts a second")


if __name__ == "__main__":
    main()

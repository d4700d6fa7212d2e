"""Opens exported folders as somebody does who has torch, einops and transformers and no pentarch.

    python -I opener.py FOLDER …     asks each model in FOLDER, writes answers.pt beside it

The test that starts it asks the same of the models it exported.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

OURS = ("archs", "objectives", "experiments")
AUTO: dict[str, Any] = {
    "encoder_ae": transformers.AutoModelForMaskedLM,
    "encoder_decoder": transformers.AutoModelForSeq2SeqLM,
    "decoder_ar": transformers.AutoModelForCausalLM,
    "prefix_lm": transformers.AutoModelForCausalLM,
    "permuted_lm": transformers.AutoModelForCausalLM,
}
PAD, EOS = 0, 2


class Forbidden:
    """An import hook that knows nothing of pentarch."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.split(".")[0] in OURS:
            raise ModuleNotFoundError(f"{name} is not installed here")


@torch.no_grad()
def answers(model: Any) -> dict[str, Tensor]:
    """Logits of plain and padded input, the loss, and what it writes in each way."""
    kind, vocabulary = model.config.family, model.config.vocab_size
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, vocabulary, (3, 7), generator=rng)
    cells = torch.arange(7)
    left = (cells >= torch.tensor([[0], [2], [5]])).long()
    right = left.flip(1)
    plain: dict[str, Any] = {"input_ids": tokens}
    if kind == "encoder_decoder":
        plain["decoder_input_ids"] = torch.randint(3, vocabulary, (3, 5), generator=rng)
    if kind == "encoder_ae" and model.config.core["token_types"]:
        plain["token_type_ids"] = (cells > 3).long().expand(3, -1)
    if kind == "prefix_lm":
        plain["prefix_mask"] = (cells < 4).long().expand(3, -1)
    found = {"plain": model(**plain).logits}
    for name, mask in (("left", left), ("right", right)):
        found[name] = (
            model(**plain, attention_mask=mask).logits[mask.bool()]
            if kind != "encoder_decoder"
            else (model(**plain, attention_mask=mask).logits)
        )
    labels = plain.get("decoder_input_ids", tokens)
    found["loss"] = model(**plain, labels=labels.masked_fill(labels % 3 == 0, -100)).loss
    if kind == "encoder_ae":
        return found
    padded = {"input_ids": tokens.masked_fill(left == 0, PAD), "attention_mask": left, "max_new_tokens": 6}
    found["greedy"] = model.generate(**padded)
    found["beams"] = model.generate(**padded, num_beams=3, length_penalty=0.5)
    torch.manual_seed(0)
    found["sampled"] = model.generate(**padded, do_sample=True, top_k=9, top_p=0.9, temperature=2.0)
    often = found["greedy"][:, -6:].flatten().mode().values
    found["ended"] = model.generate(**padded, eos_token_id=int(often), pad_token_id=PAD)
    return found


def main(folders: list[str]) -> None:
    sys.path[:] = [place for place in sys.path if not (Path(place) / "archs").exists()]
    sys.meta_path.insert(0, Forbidden())  # type: ignore[arg-type]
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for folder in map(Path, folders):
        auto = AUTO[folder.name.split(" ")[0]]
        model = auto.from_pretrained(folder, trust_remote_code=True).eval()
        model.save_pretrained(folder / "again")
        again = auto.from_pretrained(folder / "again", trust_remote_code=True).eval()
        torch.save([answers(model), answers(again)], folder / "answers.pt")
    assert not [name for name in sys.modules if name.split(".")[0] in OURS]


if __name__ == "__main__":
    main(sys.argv[1:])

"""A peer is asked what ours is asked."""

from __future__ import annotations

import torch

from archs.families.permuted_lm import mask
from benchmarks.peers import IGNORED
from benchmarks.peers.hugging_face import permuted
from benchmarks.workload import Shape, batches


def test_xlnet_is_given_the_order_and_the_targets_of_our_permuted_lm() -> None:
    batch = batches("permuted_lm", Shape(rows=3, length=24), False, torch.device("cpu"))[0]
    question, (B, T) = permuted(batch), batch.tokens.shape
    assert batch.queries is not None
    M, hidden = batch.queries.shape[1], question["perm_mask"].bool()
    seen = mask(batch).dense(B, torch.arange(T + M), torch.arange(T))
    # XLNet lets every content row see itself besides.
    assert torch.equal(seen[:, :T], ~hidden | torch.eye(T, dtype=torch.bool))
    at_targets = question["target_mapping"].argmax(-1)
    assert torch.equal(seen[:, T:], ~hidden.gather(1, at_targets[:, :, None].expand(-1, -1, T)))
    asked = question["labels"] != IGNORED
    assert int(asked.sum()) == batch.supervised
    assert torch.equal(question["labels"][asked], batch.targets.gather(1, at_targets)[asked])

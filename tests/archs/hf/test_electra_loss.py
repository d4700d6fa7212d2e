"""The loss of replaced token detection is that of Hugging Face's ElectraForPreTraining."""

from __future__ import annotations

import pytest
import torch
from transformers import ElectraConfig, ElectraForPreTraining

from archs.families.encoder_ae import EncoderAE
from archs.hf.cases import BERT
from archs.hf.electra import Electra
from archs.hf.load import weights_of
from archs.hf.weights import read
from experiments.training.learner import Learner
from objectives.base import Vocabulary, Windows
from objectives.replaced_tokens import ReplacedTokens, put_in

LIMIT = 1e-5
SPECIAL = torch.arange(61) < 4
VOCABULARY = Vocabulary(61, ~SPECIAL, SPECIAL, pad=0, bos=1, eos=2, mask=3)


def theirs(embedding_size: int) -> ElectraForPreTraining:
    torch.manual_seed(0)
    model = ElectraForPreTraining(ElectraConfig(**BERT, embedding_size=embedding_size))
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=weight.shape[-1] ** -0.5) if weight.dim() > 1 else weight.add_(0.1)
    return model.eval()


def ours(model: ElectraForPreTraining) -> Learner:
    """The family with their discriminator's weights, and their head on it."""
    reference = Electra()
    family = EncoderAE(reference.core(model.config, tied=True))
    learner = Learner(family, ReplacedTokens(VOCABULARY, "in_place", rate=0.3)).eval()
    weights = {name: each for name, each in weights_of(model).items() if name.startswith("electra.")}
    body = {name: each for name, each in family.named_parameters() if not name.startswith("head.")}
    found = read(reference.links(model.config), weights, body)
    head, top = learner.extra["discriminator"], model.discriminator_predictions
    with torch.no_grad():
        for name, parameter in body.items():
            parameter.copy_(found[name])
        head.dense.load_state_dict(top.dense.state_dict())
        head.logit.load_state_dict(top.dense_prediction.state_dict())
    return learner


@pytest.mark.parametrize("embedding_size", [11, 30])
@pytest.mark.parametrize("padded", [False, True])
def test_loss_and_gradients_agree_for_given_replacements(embedding_size: int, padded: bool) -> None:
    model = theirs(embedding_size)
    learner = ours(model)
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randint(4, 61, (3, 12), generator=rng)
    segments = None
    if padded:
        segments = torch.zeros_like(tokens)
        segments[1, -4:] = -1
        tokens[1, -4:] = 0
    batch = learner.objective.build(Windows(tokens, segments), rng)
    batch = put_in(batch, torch.randint(61, (len(batch.target_index),), generator=rng))
    labels = (batch.tokens != batch.targets).long()
    assert 5 < labels.sum() < 15
    attention = torch.ones_like(tokens) if segments is None else (segments >= 0).long()
    expected = model(batch.tokens, attention_mask=attention, labels=labels).loss
    found = learner.objective.of_replaced(learner.family, learner.extra, batch)
    assert found.item() > 0.3
    torch.testing.assert_close(found, expected, rtol=0, atol=LIMIT)
    found.backward()
    expected.backward()
    for one, two in (
        (learner.family.embedding.weight, model.get_input_embeddings().weight),
        (learner.extra["discriminator"].dense.weight, model.discriminator_predictions.dense.weight),
    ):
        torch.testing.assert_close(one.grad, two.grad, rtol=0, atol=LIMIT)

"""ProphetNet's loss is that of a batch of the project's core with ProphetNet's weights.

Its query-dependent relative positions, which the core has not, are set to zero. Its streams' embeddings are
sentinels' here, so the core's embeddings are not tied to its head.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import ProphetNetConfig, ProphetNetForConditionalGeneration

from archs.batch import Batch
from archs.config import CoreConfig
from archs.families.encoder_decoder import EncoderDecoder
from archs.hf.weights import Link, module, read
from objectives.base import Vocabulary, Windows
from objectives.future import FutureNGram, stream_token, streams_mask

SIZE, WIDTH, NGRAM = 61, 11, 3
SENTINELS = tuple(range(50, 61))
START = 1
VOCABULARY = Vocabulary(
    SIZE,
    torch.ones(SIZE).bool(),
    torch.arange(SIZE) < 4,
    pad=0,
    bos=START,
    eos=2,
    mask=3,
    sentinels=SENTINELS,
)


@pytest.fixture(scope="module")
def prophetnet() -> ProphetNetForConditionalGeneration:
    """Of random weights, large enough that each part shows."""
    config = ProphetNetConfig(
        vocab_size=SIZE,
        hidden_size=24,
        encoder_ffn_dim=37,
        num_encoder_layers=2,
        num_encoder_attention_heads=3,
        decoder_ffn_dim=37,
        num_decoder_layers=3,
        num_decoder_attention_heads=3,
        max_position_embeddings=40,
        num_buckets=8,
        relative_max_distance=16,
        ngram=NGRAM,
        decoder_start_token_id=START,
        disable_ngram_loss=False,
        eps=0.0,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
    )
    torch.manual_seed(0)
    model = ProphetNetForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(std=weight.shape[-1] ** -0.5)
            if "relative_pos_embeddings" in name:
                weight.zero_()
            elif "layer_norm.weight" in name:
                weight.add_(1.0)
    return model


@pytest.fixture(scope="module")
def core(prophetnet: ProphetNetForConditionalGeneration) -> EncoderDecoder:
    config = prophetnet.config
    family = EncoderDecoder(
        CoreConfig(
            vocabulary=config.vocab_size,
            layers=config.num_encoder_layers,
            decoder_layers=config.num_decoder_layers,
            width=config.hidden_size,
            heads=config.num_decoder_attention_heads,
            ffn=config.decoder_ffn_dim,
            max_length=config.max_position_embeddings - 1,
            positions="learned",
            norm="layer",
            norm_order="post",
            norm_eps=1e-5,
            embedding_norm=True,
            activation="gelu",
            attention_bias=True,
            ffn_bias=True,
            tied=False,
        )
    )
    theirs = {
        name: weight
        for name, weight in prophetnet.state_dict().items()
        if "relative_pos_embeddings" not in name and "coder.word_embeddings" not in name
    }
    streams = theirs.pop("prophetnet.decoder.ngram_embeddings.weight")
    ours = dict(family.named_parameters())
    with torch.no_grad():
        for name, weight in read(links(config), theirs, ours).items():
            ours[name].copy_(weight)
        for stream in range(NGRAM):  # stream 0 has the last embedding
            family.embedding.weight[token_of(stream)] = streams[stream - 1]
    return family.eval()


def token_of(stream: int) -> int:
    """FutureNGram's, and another for the predicting stream 0, which FutureNGram has not."""
    return stream_token(VOCABULARY, stream) if stream else SENTINELS[0]


def links(config: ProphetNetConfig) -> list[Link]:
    found = [
        *module("embedding", "prophetnet.word_embeddings"),
        Link(("head.weight",), ("lm_head.weight",)),
    ]
    sides = (
        ("encoder", "source_placement", config.num_encoder_layers),
        ("decoder", "placement", config.num_decoder_layers),
    )
    for side, placement, depth in sides:
        theirs = f"prophetnet.{side}"
        # The row of the padding's position comes before that of position 0.
        found += module(f"{placement}.positions", f"{theirs}.position_embeddings", skip=1)
        found += module(f"{placement}.norm", f"{theirs}.embeddings_layer_norm")
        for number in range(depth):
            found += layer(f"{side}.blocks.{number}", f"{theirs}.layers.{number}")
    return found


def layer(ours: str, theirs: str) -> list[Link]:
    def projections(attention: str) -> tuple[str, ...]:
        return tuple(f"{theirs}.{attention}.{part}_proj" for part in ("query", "key", "value"))

    crossing = (f"{ours}.cross.query", f"{ours}.cross.key_value")
    return [
        *module(f"{ours}.attention.query_key_value", projections("self_attn")),
        *module(f"{ours}.attention.out", f"{theirs}.self_attn.out_proj"),
        *module(f"{ours}.attention_norm", f"{theirs}.self_attn_layer_norm"),
        *module(crossing, projections("cross_attn")),
        *module(f"{ours}.cross.out", f"{theirs}.cross_attn.out_proj"),
        *module(f"{ours}.cross_norm", f"{theirs}.cross_attn_layer_norm"),
        *module(f"{ours}.ffn.up", f"{theirs}.feed_forward.intermediate"),
        *module(f"{ours}.ffn.down", f"{theirs}.feed_forward.output"),
        *module(f"{ours}.ffn_norm", f"{theirs}.feed_forward_layer_norm"),
    ]


def texts() -> tuple[Tensor, Tensor]:
    """Source (4,9) and target (4,WIDTH), no special tokens."""
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randint(4, SENTINELS[0], (4, 9 + WIDTH), generator=rng)
    return tokens[:, :9], tokens[:, 9:]


def paper_s_batch(source: Tensor, target: Tensor) -> Batch:
    """The main stream asks nothing; row i of stream s = 0, …, n - 1 is asked for target i.

    It sees main rows up to i - s, the first at least, and itself, at the position after i.
    """
    columns = torch.arange(WIDTH).expand(target.shape)
    read = torch.cat((torch.full_like(target[:, :1], START), target[:, :-1]), 1)
    predicting = [torch.full_like(target, token_of(stream)) for stream in range(NGRAM)]
    reach = [(columns - stream).clamp(min=0) for stream in range(NGRAM)]
    batch = Batch.of(
        torch.cat([read, *predicting], 1),
        target.repeat(1, 1 + NGRAM),
        torch.cat([torch.zeros(target.shape), torch.ones(target.shape).repeat(1, NGRAM)], 1),
        source=source,
        mask=streams_mask,
        extras={
            "sees": torch.cat([columns, *reach], 1),
            "place": torch.cat([columns, torch.full_like(columns, WIDTH).repeat(1, NGRAM)], 1),
        },
    )
    return replace(batch, positions=torch.cat([columns, (columns + 1).repeat(1, NGRAM)], 1))


@torch.no_grad()
def test_the_paper_s_arrangement_has_the_loss_of_hugging_face_s_prophetnet(prophetnet, core):
    source, target = texts()
    batch = paper_s_batch(source, target)
    objective = FutureNGram(VOCABULARY, "source_target", n=NGRAM)
    ours = objective.loss(core, objective.modules(core), batch).value
    theirs = prophetnet(input_ids=source, labels=target, use_cache=False)
    assert abs(float(ours - theirs.loss)) < 1e-5
    said = core.score(batch).nats.view(len(target), 1 + NGRAM, WIDTH)[:, 1:]
    logits = torch.cat((theirs.logits[:, None], theirs.logits_ngram), 1).log_softmax(-1)
    expected = logits.gather(-1, target[:, None, :, None].expand(-1, NGRAM, -1, -1)).squeeze(-1)
    torch.testing.assert_close(said, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("what", ["sees", "positions"])
@torch.no_grad()
def test_streams_that_see_or_stand_one_place_earlier_have_another_loss(what, prophetnet, core):
    source, target = texts()
    batch = paper_s_batch(source, target)
    if what == "sees":
        fewer = (batch.extras["sees"] - 1).clamp(min=0)
        wrong = replace(batch, extras={**batch.extras, "sees": fewer})
    else:
        wrong = replace(batch, positions=torch.arange(WIDTH).repeat(len(target), 1 + NGRAM))
    objective = FutureNGram(VOCABULARY, "source_target", n=NGRAM)
    ours = objective.loss(core, objective.modules(core), wrong).value
    theirs = prophetnet(input_ids=source, labels=target, use_cache=False).loss
    assert abs(float(ours - theirs)) > 1e-4


@torch.no_grad()
def test_the_streams_of_the_objective_say_what_hugging_face_s_say(prophetnet, core):
    """Row t of stream s is row t + s of theirs; whole texts are hidden, so the positions are theirs too."""
    _, text = texts()
    objective = FutureNGram(VOCABULARY, "source_target", n=NGRAM, rate=1.0)
    batch = objective.build(Windows(text), torch.Generator())
    assert batch.source is not None
    ours = core.score(batch).nats.view(len(text), NGRAM, -1)
    theirs = prophetnet(input_ids=batch.source, labels=text, use_cache=False)
    logp = theirs.logits_ngram.log_softmax(-1)
    for stream in range(1, NGRAM):
        expected = logp[:, stream - 1].gather(-1, text[:, :, None]).squeeze(-1)[:, stream:]
        torch.testing.assert_close(ours[:, stream, : WIDTH - stream], expected, atol=1e-5, rtol=0)

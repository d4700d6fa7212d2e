"""The five families by name."""

from archs.config import CoreConfig
from archs.errors import unknown
from archs.families.decoder_ar import DecoderAR
from archs.families.encoder_ae import EncoderAE
from archs.families.encoder_decoder import EncoderDecoder
from archs.families.family import Family
from archs.families.permuted_lm import PermutedLM
from archs.families.prefix_lm import PrefixLM

FAMILIES: dict[str, type[Family]] = {
    "encoder_ae": EncoderAE,
    "decoder_ar": DecoderAR,
    "encoder_decoder": EncoderDecoder,
    "prefix_lm": PrefixLM,
    "permuted_lm": PermutedLM,
}


def build(name: str, config: CoreConfig) -> Family:
    """A family by name. Raises UserError with the names allowed."""
    if name not in FAMILIES:
        raise unknown("family", name, FAMILIES)
    return FAMILIES[name](config)


__all__ = ["FAMILIES", "CoreConfig", "Family", "build"]

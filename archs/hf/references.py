"""The supported Hugging Face architectures, by model_type."""

from __future__ import annotations

from archs.hf.albert import Albert
from archs.hf.bart import Bart
from archs.hf.bert import Bert
from archs.hf.electra import Electra
from archs.hf.gpt2 import GPT2
from archs.hf.llama import Llama
from archs.hf.modernbert import ModernBert
from archs.hf.reference import Reference
from archs.hf.roberta import Roberta
from archs.hf.t5 import T5
from archs.hf.xlnet import XLNet

ALL = (Bert, Roberta, GPT2, T5, Bart, XLNet, Albert, Electra, Llama, ModernBert)
REFERENCES: dict[str, Reference] = {each.model_type: each() for each in ALL}

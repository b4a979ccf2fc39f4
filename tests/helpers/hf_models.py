"""Transformers models out of tiny configurations: random weights, nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Case:
    """One model.

    Args:
        make: Gives the module.
        inputs: Shape by input name as the shape language has it, with dtype.
        dims: Ranges of its symbols.
        exporters: Those that can export it.
        outputs: Some outputs that must be among those compared.
    """

    make: Callable[[], nn.Module]
    inputs: tuple[str, ...]
    dims: tuple[str, ...]
    outputs: tuple[str, ...]
    exporters: tuple[str, ...] = ("dynamo", "torchscript")


SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


def bert() -> nn.Module:
    import transformers

    config = transformers.BertConfig(vocab_size=99, max_position_embeddings=32, **SMALL)
    return transformers.BertModel(config)


def classifier() -> nn.Module:
    import transformers

    config = transformers.DistilBertConfig(
        vocab_size=99, max_position_embeddings=32, dim=32, n_layers=1, n_heads=4, hidden_dim=48
    )
    return transformers.DistilBertForSequenceClassification(config)


def vit() -> nn.Module:
    import transformers

    more: dict[str, Any] = {**SMALL, "num_labels": 7}
    config = transformers.ViTConfig(image_size=16, patch_size=4, **more)
    return transformers.ViTForImageClassification(config)


def t5_encoder() -> nn.Module:
    import transformers

    config = transformers.T5Config(
        vocab_size=99, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4
    )
    return transformers.T5EncoderModel(config)


def gpt2() -> nn.Module:
    import transformers

    config = transformers.GPT2Config(vocab_size=99, n_positions=32, n_embd=32, n_layer=1, n_head=4)
    return transformers.GPT2LMHeadModel(config)


def llama() -> nn.Module:
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=99, max_position_embeddings=32, num_key_value_heads=2, **SMALL
    )
    return transformers.LlamaForCausalLM(config)


def whisper_encoder() -> nn.Module:
    import transformers
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = transformers.WhisperConfig(
        d_model=32,
        encoder_layers=1,
        encoder_attention_heads=4,
        encoder_ffn_dim=48,
        num_mel_bins=8,
        max_source_positions=16,
    )
    return WhisperEncoder(config)


def segformer() -> nn.Module:
    import transformers

    more: dict[str, Any] = {"num_labels": 5}
    config = transformers.SegformerConfig(
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=16,
        **more,
    )
    return transformers.SegformerForSemanticSegmentation(config)


TEXT = ("input_ids:NxL@int64", "attention_mask:NxL@int64")
TEXT_DIMS = ("N=1..2..5", "L=2..7..12")

CASES: Mapping[str, Case] = {
    "bert": Case(bert, TEXT, TEXT_DIMS, ("last_hidden_state", "pooler_output")),
    "distilbert": Case(classifier, TEXT, TEXT_DIMS, ("logits",)),
    "vit": Case(vit, ("pixel_values:Nx3x16x16",), ("N=1..2..5",), ("logits",)),
    "t5 encoder": Case(t5_encoder, TEXT, TEXT_DIMS, ("last_hidden_state",), ("torchscript",)),
    "gpt2": Case(gpt2, TEXT, TEXT_DIMS, ("logits", "cache.0.keys")),
    "llama": Case(llama, TEXT, TEXT_DIMS, ("logits", "cache.0.keys")),
    "whisper encoder": Case(
        whisper_encoder, ("input_features:Nx8x32",), ("N=1..2..5",), ("last_hidden_state",)
    ),
    "segformer": Case(segformer, ("pixel_values:Nx3x32x32",), ("N=1..2..5",), ("logits",)),
}

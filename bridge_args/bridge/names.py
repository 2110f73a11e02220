"""Classes and functions that configurations of ours name, by their role and by version: another name is another line.

``bridge-args check`` asks the schema of every known Bridge for the classes, ``tests/against/test_names.py`` the
installed Bridge for all of them.
"""

from __future__ import annotations

from typing import Final

from bridge_args.bridge.schema import Schema
from bridge_args.records import Record
from bridge_args.versions import Versions, holds


class Name(Record):
    """What plays a role in some versions.

    Attributes:
        path: dotted name.
        condition: the versions of Bridge in which it is so, ``bridge >=0.3``; empty for all.
        is_class: a class of a section, which a schema lists.
    """

    path: str
    condition: str = ""
    is_class: bool = True


ROLES: Final[dict[str, tuple[Name, ...]]] = {
    "GPT model": (Name("megatron.bridge.models.gpt_provider.GPTModelProvider"),),
    "model with latent attention": (Name("megatron.bridge.models.mla_provider.MLAModelProvider", "bridge >=0.3"),),
    "hybrid model": (
        Name("megatron.bridge.models.hybrid.hybrid_provider.HybridModelProvider", "bridge >=0.6"),
        Name("megatron.bridge.models.mamba.mamba_provider.MambaModelProvider"),
    ),
    "data with a middle to fill in": (Name("megatron.bridge.training.config.GPTFIMDatasetConfig", "bridge >=0.3"),),
    "mixed precision": (Name("megatron.bridge.training.mixed_precision.MixedPrecisionConfig"),),
    "local layers": (Name("megatron.bridge.models.gpt_provider.local_layer_spec", is_class=False),),
    "layers of a block": (Name("megatron.core.models.gpt.gpt_layer_specs.get_gpt_decoder_block_spec", is_class=False),),
    "layers with another attention": (
        Name(
            "megatron.core.models.gpt.experimental_attention_variant_module_specs."
            "get_transformer_block_with_experimental_attention_variant_spec",
            is_class=False,
        ),
    ),
    "layers of a hybrid model": (
        Name("megatron.core.models.hybrid.hybrid_layer_specs.hybrid_stack_spec", "bridge >=0.5", is_class=False),
        Name("megatron.core.models.mamba.mamba_layer_specs.mamba_stack_spec", is_class=False),
    ),
    "GELU by tanh": (Name("megatron.core.activations.fast_gelu", is_class=False),),
    "answers of SQuAD": (
        Name("megatron.bridge.data.hf_processors.squad.process_squad_example", "bridge <0.6", is_class=False),
    ),
    "data of Hugging Face": (
        Name("megatron.bridge.data.sources.hf.HFDatasetSourceConfig", "bridge >=0.6", is_class=False),
    ),
    "prompts with answers": (
        Name(
            "megatron.bridge.data.sft_processing.PromptCompletionSFTPreprocessingConfig", "bridge >=0.6", is_class=False
        ),
    ),
    "conversations": (
        Name("megatron.bridge.data.sft_processing.ChatSFTPreprocessingConfig", "bridge >=0.6", is_class=False),
    ),
    "packed sequences": (
        Name("megatron.bridge.data.packing.config.PackedSequenceSpecs", "bridge >=0.6", is_class=False),
        Name("megatron.bridge.data.datasets.packed_sequence.PackedSequenceSpecs", is_class=False),
    ),
    "overlap of layers": (Name("megatron.bridge.training.comm_overlap.TransformerLayerTPOverlapCfg", is_class=False),),
    "LoRA": (Name("megatron.bridge.peft.lora.LoRA", is_class=False),),
    "DoRA": (Name("megatron.bridge.peft.dora.DoRA", is_class=False),),
    "CanonicalLoRA": (Name("megatron.bridge.peft.canonical_lora.CanonicalLoRA", is_class=False),),
    "squared ReLU": (Name("megatron.core.activations.squared_relu", is_class=False),),
    "quick GELU": (Name("megatron.core.fusions.fused_bias_geglu.quick_gelu", is_class=False),),
    "quantization recipe": (Name("megatron.core.quantization.utils.load_quantization_recipe", is_class=False),),
}


def name_of(role: str, bridge: str) -> str:
    """The dotted name that plays a role in a version of Bridge; empty where there is none."""
    for name in ROLES[role]:
        if not name.condition or holds(name.condition, Versions("0", bridge)):
            return name.path
    return ""


def classes_of(bridge: str) -> dict[str, str]:
    """Role to class, for those that a version has."""
    found = {role: name_of(role, bridge) for role, names in ROLES.items() if names[0].is_class}
    return {role: path for role, path in found.items() if path}


def missing(schema: Schema) -> dict[str, str]:
    """Role to class, for those that a schema does not have."""
    return {role: path for role, path in classes_of(schema.version).items() if path not in schema.classes}

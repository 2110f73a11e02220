"""Small random models of Hugging Face's, with a tokenizer that is trained here: nothing is fetched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
_SIZES: dict[str, Any] = dict(
    vocab_size=1024,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
)
_ROPE = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
_MLA: dict[str, Any] = dict(
    num_key_value_heads=4,
    q_lora_rank=32,
    kv_lora_rank=32,
    qk_rope_head_dim=16,
    qk_nope_head_dim=32,
    v_head_dim=32,
    n_routed_experts=4,
    n_shared_experts=1,
    num_experts_per_tok=2,
    moe_intermediate_size=32,
    first_k_dense_replace=1,
)

# Name to the class of its configuration, and what differs from _SIZES.
DENSE: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "llama31": ("LlamaConfig", dict(rope_scaling={**_ROPE, "original_max_position_embeddings": 8192})),
    "llama_tied": ("LlamaConfig", dict(tie_word_embeddings=True)),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", dict(head_dim=16)),
    "mistral": ("MistralConfig", dict(sliding_window=None, head_dim=16)),
    "gemma": ("GemmaConfig", dict(head_dim=16, num_key_value_heads=1)),
    "gemma2": ("Gemma2Config", dict(head_dim=16, query_pre_attn_scalar=16, sliding_window=64)),
    "gemma3": ("Gemma3TextConfig", dict(head_dim=16, query_pre_attn_scalar=16, sliding_window=64)),
    "nemotron": ("NemotronConfig", {}),
}
MOE: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3_moe": (
        "Qwen3MoeConfig",
        dict(
            head_dim=16,
            num_experts=4,
            num_experts_per_tok=2,
            moe_intermediate_size=32,
            decoder_sparse_step=1,
            norm_topk_prob=True,  # as the published ones
        ),
    ),
    "olmoe": ("OlmoeConfig", dict(num_key_value_heads=4, num_experts=4, num_experts_per_tok=2, intermediate_size=32)),
    "deepseek_v2": ("DeepseekV2Config", dict(_MLA, head_dim=16)),
    "deepseek_v3": (
        "DeepseekV3Config",
        dict(_MLA, n_group=2, topk_group=1, scoring_func="sigmoid", topk_method="noaux_tc"),
    ),
    "glm4_moe": (
        "Glm4MoeConfig",
        dict(
            head_dim=16,
            n_routed_experts=4,
            n_shared_experts=1,
            num_experts_per_tok=2,
            moe_intermediate_size=32,
            first_k_dense_replace=1,
            n_group=1,
            topk_group=1,
        ),
    ),
    "gpt_oss": (
        "GptOssConfig",
        dict(head_dim=16, num_local_experts=4, num_experts_per_tok=2, intermediate_size=48, sliding_window=16),
    ),
}


def make(folder: Path, name: str = "llama", dtype: str = "bfloat16", **others: Any) -> Path:
    """A model of a kind with random weights, as its own library saves it."""
    import torch
    import transformers

    kind, sizes = (DENSE | MOE)[name]
    config = getattr(transformers, kind)(**{**_SIZES, **sizes, **others})
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype))
    with torch.no_grad():
        for parameter in model.parameters():  # what is constant at the start would hide a mistake
            parameter.copy_(torch.randn(parameter.shape) * 0.05 + (1.0 if parameter.dim() == 1 else 0.0))
        for name, held in (*model.named_parameters(), *model.named_buffers()):
            if name.endswith("e_score_correction_bias"):  # of the type that its library keeps it in
                held.data = torch.randn(held.shape)
    model.save_pretrained(folder)
    tokenizer(folder, min(config.vocab_size, 300))
    return folder


def tokenizer(folder: Path, size: int = 300) -> Path:
    """Bytes, and a few pairs of them."""
    import tokenizers
    import transformers

    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(["Hello world, hello all of you", "the quick brown fox"], trainer)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=trained, bos_token="<s>", eos_token="</s>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return folder


def edit(folder: Path, **changes: Any) -> None:
    """Writes other values into config.json."""
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

"""The layers of Transformer Engine that Megatron Core builds, in plain PyTorch: norms, linear layers, attention.

They take the arguments Megatron Core 0.16 gives (``megatron/core/extensions/transformer_engine.py``) and compute
what Transformer Engine computes without fp8, fp4, communication overlap and packed sequences. Imported only by the
emulation, which has arranged PyTorch's environment before.
"""

# PyTorch is not read by mypy here (pyproject.toml), so its classes are Any.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module, Parameter


class NotEmulated(NotImplementedError):
    """Something of Transformer Engine that has no counterpart on the CPU."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} of Transformer Engine is not emulated on the CPU")


def _core(name: str) -> Any:
    return importlib.import_module(f"megatron.core.{name}")


# ------------------------------------------------------------------------------------- norms


def normalize(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float, zero_centered: bool, rms: bool) -> Tensor:
    """Layer norm, or RMS norm, over the last dimension: in fp32, the result in the type of ``x``."""
    scale = weight.float() + 1 if zero_centered else weight.float()
    shape = (x.shape[-1],)
    if rms:
        return F.rms_norm(x.float(), shape, scale, eps).to(x.dtype)
    return F.layer_norm(x.float(), shape, scale, None if bias is None else bias.float(), eps).to(x.dtype)


class LayerNorm(Module):
    rms = False

    def __init__(
        self,
        normalized_shape: int | None = None,
        eps: float = 1e-5,
        sequence_parallel: bool = False,
        params_dtype: torch.dtype | None = None,
        zero_centered_gamma: bool = False,
        hidden_size: int | None = None,  # its older name
        **ignored: object,
    ) -> None:
        super().__init__()
        size = hidden_size if normalized_shape is None else normalized_shape
        dtype = params_dtype or torch.get_default_dtype()
        self.eps, self.zero_centered_gamma = eps, zero_centered_gamma
        self.weight = Parameter(torch.empty(size, dtype=dtype))
        self.bias = None if self.rms else Parameter(torch.empty(size, dtype=dtype))
        self.reset_parameters()
        for parameter in self.parameters():
            setattr(parameter, "sequence_parallel", sequence_parallel)

    def reset_parameters(self) -> None:
        torch.nn.init.constant_(self.weight, 0.0 if self.zero_centered_gamma else 1.0)
        if self.bias is not None:
            torch.nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return normalize(x, self.weight, self.bias, self.eps, self.zero_centered_gamma, self.rms)


class RMSNorm(LayerNorm):
    rms = True


# ------------------------------------------------------------------------------------ linear


class _Linear(Module):
    """What the three linear layers share: parameters sharded over the tensor-parallel group, and the product."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        sequence_parallel: bool = False,
        fuse_wgrad_accumulation: bool = False,
        tp_group: Any = None,
        tp_size: int = 1,
        get_rng_state_tracker: Callable[[], Any] | None = None,
        rng_tracker_name: str | None = None,
        init_method: Callable[[Tensor], Any] | None = None,
        bias: bool = True,
        return_bias: bool = False,
        params_dtype: torch.dtype | None = None,
        parallel_mode: str | None = None,
        **ignored: object,
    ) -> None:
        super().__init__()
        self.tp_group, self.tp_size, self.parallel_mode = tp_group, tp_size, parallel_mode
        self.sequence_parallel = tp_size > 1 and sequence_parallel
        self.fuse_wgrad_accumulation = fuse_wgrad_accumulation
        self.use_bias, self.return_bias = bias, return_bias
        self.in_features = in_features // tp_size if parallel_mode == "row" else in_features
        self.out_features = out_features // tp_size if parallel_mode == "column" else out_features
        self._dtype = params_dtype or torch.get_default_dtype()
        self._init = init_method or (lambda weight: torch.nn.init.normal_(weight, mean=0.0, std=0.023))
        self._tracker, self._tracker_name = get_rng_state_tracker, rng_tracker_name

    def set_tensor_parallel_group(self, tp_group: Any) -> None:
        self.tp_group = tp_group

    def _new_weight(self) -> Parameter:
        weight = Parameter(torch.empty(self.out_features, self.in_features, dtype=self._dtype))
        sharded = self.parallel_mode is not None
        dimension = {"row": 1, "column": 0}.get(self.parallel_mode or "", -1)
        _mark(weight, tensor_model_parallel=sharded, partition_dim=dimension, partition_stride=1)
        context: Any = contextlib.nullcontext()
        if self._tracker is not None:
            tracker = self._tracker()
            context = tracker.fork(self._tracker_name) if self._tracker_name else tracker.fork()
        with context, torch.no_grad():
            self._init(weight)
        return weight

    def _new_bias(self) -> Parameter | None:
        if not self.use_bias:
            return None
        bias = Parameter(torch.zeros(self.out_features, dtype=self._dtype))
        if self.parallel_mode == "column":
            _mark(bias, tensor_model_parallel=True, partition_dim=0, partition_stride=1)
        if self.parallel_mode == "row":
            _mark(bias, sequence_parallel=self.sequence_parallel)
        return bias

    def _product(self, x: Tensor, weight: Tensor, *, reduce_input_grad: bool = False, gather: bool = False) -> Tensor:
        fuse = self.fuse_wgrad_accumulation and hasattr(weight, "main_grad") and torch.is_grad_enabled()
        linear = _core("tensor_parallel.layers").linear_with_grad_accumulation_and_async_allreduce
        result: Tensor = linear(x, weight, None, fuse, reduce_input_grad, gather, tp_group=self.tp_group)
        return result

    def _apply_linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Any:
        parallel = self.tp_size > 1 and self.parallel_mode is not None
        column = parallel and self.parallel_mode == "column"
        y = self._product(
            x,
            weight,
            reduce_input_grad=column and not self.sequence_parallel,
            gather=column and self.sequence_parallel,
        )
        if parallel and not column:
            mappings = _core("tensor_parallel.mappings")
            if self.sequence_parallel:
                y = mappings.reduce_scatter_to_sequence_parallel_region(y, group=self.tp_group)
            else:
                y = mappings.reduce_from_tensor_model_parallel_region(y, group=self.tp_group)
        if self.return_bias:
            return y, bias
        return y if bias is None else y + bias


def _mark(parameter: Parameter, **attributes: object) -> None:
    for name, value in attributes.items():
        setattr(parameter, name, value)


class Linear(_Linear):
    def __init__(self, in_features: int, out_features: int, **options: Any) -> None:
        super().__init__(in_features, out_features, **options)
        self.weight = self._new_weight()
        self.bias = self._new_bias()

    def forward(self, x: Tensor, is_first_microbatch: object = None, **ignored: object) -> Any:
        return self._apply_linear(x, self.weight, self.bias)


class LayerNormLinear(_Linear):
    def __init__(
        self,
        in_features: int,
        out_features: int,
        eps: float = 1e-5,
        *,
        normalization: str = "LayerNorm",
        zero_centered_gamma: bool = False,
        return_layernorm_output: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(in_features, out_features, **options)
        # Layers of LoRA set it afterwards: they take what the product takes.
        self.return_layernorm_output, self.return_layernorm_output_gathered = return_layernorm_output, False
        self.eps, self.zero_centered_gamma, self.normalization = eps, zero_centered_gamma, normalization
        start = 0.0 if zero_centered_gamma else 1.0
        self.layer_norm_weight = Parameter(torch.full((in_features,), start, dtype=self._dtype))
        self.layer_norm_bias = None
        if normalization != "RMSNorm":
            self.layer_norm_bias = Parameter(torch.zeros(in_features, dtype=self._dtype))
        for parameter in self.parameters(recurse=False):
            _mark(parameter, sequence_parallel=self.sequence_parallel)
        self.weight = self._new_weight()
        self.bias = self._new_bias()

    def forward(self, x: Tensor, is_first_microbatch: object = None, **ignored: object) -> Any:
        rms = self.normalization == "RMSNorm"
        x = normalize(x, self.layer_norm_weight, self.layer_norm_bias, self.eps, self.zero_centered_gamma, rms)
        y = self._apply_linear(x, self.weight, self.bias)
        if not self.return_layernorm_output:
            return y
        if self.sequence_parallel and self.return_layernorm_output_gathered:
            raise NotEmulated("return_layernorm_output_gathered")
        return (*y, x) if self.return_bias else (y, x)


class GroupedLinear(_Linear):
    """One product per expert; the tensor-parallel communication is the token dispatcher's."""

    def __init__(self, num_gemms: int, in_features: int, out_features: int, **options: Any) -> None:
        super().__init__(in_features, out_features, **options)
        self.num_gemms = num_gemms
        self.fp8, self.fp8_calibration, self.fp8_meta = False, False, {"fp8_checkpoint": False}
        for index in range(num_gemms):
            setattr(self, f"weight{index}", self._new_weight())
        for index in range(num_gemms):
            setattr(self, f"bias{index}", self._new_bias())

    def init_fp8_metadata(self, num_gemms: int = 1) -> None: ...

    # Megatron Core asks this layer, and no other, for its state of fp8 whenever it saves.
    def get_extra_state(self) -> Tensor:
        return _no_fp8(self)

    def set_extra_state(self, state: object) -> None: ...

    def forward(self, x: Tensor, m_splits: list[int], is_first_microbatch: object = None, **ignored: object) -> Any:
        biases = [getattr(self, f"bias{index}") for index in range(self.num_gemms)]
        parts = []
        for index, part in enumerate(torch.split(x, list(m_splits))):
            y = self._product(part, getattr(self, f"weight{index}"))
            parts.append(y if biases[index] is None or self.return_bias else y + biases[index])
        result = torch.cat(parts)
        return (result, biases) if self.return_bias else result


def _no_fp8(layer: object) -> Tensor:
    """What a layer of Transformer Engine's keeps of fp8 where there is none."""
    return torch.empty(0, dtype=torch.uint8)


def keep_extra_states() -> None:
    """From now on the layers have the states that Transformer Engine's have: of a checkpoint that is made for those.

    They are empty, and a job with Transformer Engine does not load a checkpoint without them. A layer that has none
    loads every checkpoint; so they are not always there.
    """
    for layer in (LayerNorm, Linear, LayerNormLinear, DotProductAttention):
        setattr(layer, "get_extra_state", _no_fp8)
        setattr(layer, "set_extra_state", GroupedLinear.set_extra_state)


# --------------------------------------------------------------------------------- attention


class DotProductAttention(Module):
    """Exact softmax attention; query, key and value are [sequence, batch, heads, channels]."""

    def __init__(
        self,
        num_attention_heads: int,
        kv_channels: int | tuple[int, int],
        num_gqa_groups: int | None = None,
        attention_dropout: float = 0.0,
        attn_mask_type: str = "causal",
        window_size: tuple[int, int] | None = None,
        sequence_parallel: bool = False,
        tp_size: int = 1,
        get_rng_state_tracker: Callable[[], Any] | None = None,
        cp_group: Any = None,
        softmax_scale: float | None = None,
        softmax_type: str = "vanilla",
        **ignored: object,
    ) -> None:
        super().__init__()
        key_channels = kv_channels[0] if isinstance(kv_channels, (tuple, list)) else kv_channels
        self.softmax_scale = 1.0 / math.sqrt(key_channels) if softmax_scale is None else softmax_scale
        self.attn_mask_type, self.window_size = attn_mask_type, window_size
        self.attention_dropout, self.cp_group = attention_dropout, cp_group
        # under sequence parallelism the ranks already differ in the default random state
        self._tracker = None if sequence_parallel else get_rng_state_tracker
        self.softmax_offset: Tensor | None = None
        heads = num_attention_heads // tp_size
        if softmax_type == "off-by-one":
            self.softmax_offset = torch.zeros(heads)
        elif softmax_type == "learnable":
            self.softmax_offset = Parameter(torch.zeros(heads))

    def set_context_parallel_group(self, cp_group: Any, *ignored: object) -> None:
        self.cp_group = cp_group

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None = None,
        attn_mask_type: str | None = None,
        window_size: tuple[int, int] | None = None,
        core_attention_bias_type: str = "no_bias",
        core_attention_bias: Tensor | None = None,
        qkv_format: str = "sbhd",
        **packed: object,
    ) -> Tensor:
        if qkv_format != "sbhd" or packed:
            raise NotEmulated("attention over packed sequences")
        query_at, key_at = torch.arange(query.shape[0]), torch.arange(key.shape[0])
        ranks = torch.distributed.get_world_size(self.cp_group) if self.cp_group is not None else 1
        if ranks > 1:
            query_at, key_at = _positions(query.shape[0], torch.distributed.get_rank(self.cp_group), ranks)
            gather = _core("tensor_parallel.mappings").gather_from_sequence_parallel_region
            key = gather(key.contiguous(), True, group=self.cp_group)
            value = gather(value.contiguous(), True, group=self.cp_group)
        if key.shape[2] != query.shape[2]:
            key = key.repeat_interleave(query.shape[2] // key.shape[2], dim=2)
            value = value.repeat_interleave(query.shape[2] // value.shape[2], dim=2)
        scores = torch.einsum("qbhd,kbhd->bhqk", query, key).float() * self.softmax_scale
        if core_attention_bias is not None:
            scores = scores + core_attention_bias
        mask_type = attn_mask_type or self.attn_mask_type
        if "bottom_right" in mask_type:
            query_at = query_at + key.shape[0] - query.shape[0] * ranks
        hidden = _hidden(mask_type, window_size or self.window_size, attention_mask, query_at, key_at)
        if hidden is not None:
            scores = scores.masked_fill(hidden, float("-inf"))
        probabilities = self._softmax(scores).to(query.dtype)
        with self._tracker().fork() if self._tracker is not None else contextlib.nullcontext():
            probabilities = F.dropout(probabilities, self.attention_dropout, self.training)
        return torch.einsum("bhqk,kbhd->qbhd", probabilities, value).flatten(2)

    def _softmax(self, scores: Tensor) -> Tensor:
        """Over keys; a sink takes part of the probability where the model has one."""
        if self.softmax_offset is None:
            return torch.softmax(scores, dim=-1)
        sink = self.softmax_offset.float().view(1, -1, 1, 1).expand(scores.shape[0], -1, scores.shape[2], 1)
        return torch.softmax(torch.cat([scores, sink], dim=-1), dim=-1)[..., :-1]


def _positions(length: int, rank: int, ranks: int) -> tuple[Tensor, Tensor]:
    """Positions of this rank's queries and of all gathered keys: rank r holds chunks r and 2*ranks-1-r."""
    chunk = length // 2

    def held_by(r: int) -> Tensor:
        return torch.cat([torch.arange(c * chunk, (c + 1) * chunk) for c in (r, 2 * ranks - 1 - r)])

    return held_by(rank), torch.cat([held_by(r) for r in range(ranks)])


def _hidden(
    mask_type: str, window: tuple[int, int] | None, mask: Tensor | None, query_at: Tensor, key_at: Tensor
) -> Tensor | None:
    """True where a query must not see a key."""
    if "causal" in mask_type:
        last = query_at[:, None]
        hidden = key_at[None, :] > last
        if window is not None and window[0] >= 0:
            hidden = hidden | (key_at[None, :] < last - window[0])
        return hidden
    if mask_type == "arbitrary" or mask_type.startswith("padding"):
        return mask
    return None

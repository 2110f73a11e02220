"""Transformer Engine's FusedAdam in plain PyTorch, its state in the number formats that are asked for.

The precision-aware optimizer keeps moments and master weights in fewer bits: each is widened to fp32 for the update
and narrowed again behind it. fp16 and fp8 (E4M3) are scaled by one number a tensor, so that its largest value is the
largest that the format is used for. Master weights of bf16 parameters are the parameter and 16 bits more. Verify:
transformer_engine/pytorch/optimizers/fused_adam.py.
"""

# PyTorch is not read by mypy here (pyproject.toml), so its classes and decorators are Any.
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

from typing import Any, Final

import torch

MOMENTS: Final = ("exp_avg", "exp_avg_sq")
MASTER: Final = "master_param"
FP8: Final = torch.uint8  # how Megatron Core calls it
# The largest value that a scaled format holds; half of fp16's, which leaves room for what is added.
_LARGEST: Final = {torch.float16: torch.finfo(torch.float16).max / 2, FP8: 448.0}
_STORED: Final = {FP8: torch.float8_e4m3fn}


class FusedAdam(torch.optim.Optimizer):
    """Adam with the step count in the parameter group, as Transformer Engine keeps it."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        bias_correction: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        adam_w_mode: bool = True,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        master_weights: bool = False,
        master_weight_dtype: torch.dtype = torch.float32,
        exp_avg_dtype: torch.dtype = torch.float32,
        exp_avg_sq_dtype: torch.dtype = torch.float32,
        use_decoupled_grad: bool = False,
        store_param_remainders: bool = False,
        **ignored: object,
    ) -> None:
        if master_weights and master_weight_dtype not in (torch.float32, torch.float16):
            raise RuntimeError("FusedAdam only supports fp32/fp16 master weights.")
        defaults = dict(lr=lr, bias_correction=bias_correction, betas=betas, eps=eps, weight_decay=weight_decay)
        super().__init__(params, defaults)
        self.adam_w_mode = adam_w_mode
        self.master_weights = master_weights
        self.use_decoupled_grad = use_decoupled_grad
        self.store_param_remainders = store_param_remainders and master_weights and master_weight_dtype == torch.float32
        self.name_to_dtype_map = {
            "exp_avg": exp_avg_dtype,
            "exp_avg_sq": exp_avg_sq_dtype,
            MASTER: master_weight_dtype,
        }
        self._scales: dict[Any, dict[str, Any]] = {}

    def zero_grad(self, set_to_none: bool = True) -> None:
        if not self.use_decoupled_grad:
            super().zero_grad(set_to_none=set_to_none)
            return
        for parameter in (parameter for group in self.param_groups for parameter in group["params"]):
            if set_to_none:
                parameter.decoupled_grad = None
            elif getattr(parameter, "decoupled_grad", None) is not None:
                parameter.decoupled_grad.zero_()

    # State -----------------------------------------------------------------------------------------------------------

    def initialize_state(self, parameter: Any, store_param_remainders: bool | None = None) -> None:
        """Moments of zero, and the parameter itself as its master weight."""
        for name in MOMENTS:
            self.set_scaled_state(parameter, name, torch.zeros_like(parameter, dtype=torch.float32))
        if self.master_weights and self._has_remainder(parameter):
            self.state[parameter][MASTER] = torch.zeros_like(parameter, dtype=torch.int16)
        elif self.master_weights:
            self.set_scaled_state(parameter, MASTER, parameter.detach().clone().float())

    def get_unscaled_state(self, parameter: Any, name: str) -> Any:
        """A part of the state in fp32; of a master weight that is kept as a remainder, the remainder."""
        state = self.state[parameter][name]
        if state.dtype in (torch.float32, torch.int16):
            return state
        wide = state.float()
        scale = self._scales.get(parameter, {}).get(name)
        return wide if scale is None else wide.mul_(scale)

    def set_scaled_state(self, parameter: Any, name: str, unscaled_state: Any) -> None:
        """Keeps a part of the state, given in fp32 (a remainder: as it is), in its format."""
        dtype = self.name_to_dtype_map[name]
        if name == MASTER and self._has_remainder(parameter):
            narrow = unscaled_state
        elif dtype in _LARGEST:
            scale = unscaled_state.abs().max() / _LARGEST[dtype] if unscaled_state.numel() else torch.zeros(())
            self._scales.setdefault(parameter, {})[name] = scale
            factor = torch.where(scale > 0, scale.reciprocal(), torch.zeros(()))
            narrow = (unscaled_state * factor).to(_STORED.get(dtype, dtype))
        else:
            narrow = unscaled_state.to(dtype)
        kept = self.state[parameter].get(name)
        if kept is None:
            self.state[parameter][name] = narrow.clone()
        elif kept is not narrow:
            kept.copy_(narrow)

    def _has_remainder(self, parameter: Any) -> bool:
        return bool(self.store_param_remainders and parameter.dtype == torch.bfloat16)

    def state_dict(self) -> Any:
        """Everything in fp32, remainders as they are."""
        found = super().state_dict()
        by_index = self._by_index(found)
        for index, parameter in by_index.items():
            state = found["state"].get(index, {})
            found["state"][index] = {name: self.get_unscaled_state(parameter, name) for name in state}
        return found

    def load_state_dict(self, state_dict: Any) -> None:
        """PyTorch would turn the state into the parameter's type."""
        super().load_state_dict(state_dict)
        by_index = self._by_index(state_dict)
        for index, state in state_dict["state"].items():
            parameter = by_index[index]
            self.state[parameter] = {}
            for name, value in state.items():
                if value is not None:
                    whole = name == MASTER and self._has_remainder(parameter)
                    self.set_scaled_state(parameter, name, value if whole else value.float())

    def _by_index(self, state_dict: Any) -> dict[int, Any]:
        """The parameters by the numbers that a state dict gives them."""
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        return dict(zip(numbers, parameters, strict=True))

    # Step ------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            if group["params"]:
                group["step"] = group.get("step", 0) + 1
            for parameter in group["params"]:
                if not self.state[parameter]:
                    self.initialize_state(parameter)
                gradient = getattr(parameter, "decoupled_grad", None) if self.use_decoupled_grad else parameter.grad
                if gradient is not None:
                    self._update(parameter, gradient.float(), group)

    def _update(self, parameter: Any, gradient: Any, group: dict[str, Any]) -> None:
        """The operations of ``torch.optim.AdamW`` in its order, so that both give the same bits."""
        first, second = (self.get_unscaled_state(parameter, name) for name in MOMENTS)
        value = self._value(parameter)
        beta1, beta2 = group["betas"]
        correction1 = 1 - beta1 ** group["step"] if group["bias_correction"] else 1.0
        correction2 = 1 - beta2 ** group["step"] if group["bias_correction"] else 1.0
        if group["weight_decay"] and self.adam_w_mode:
            value.mul_(1 - group["lr"] * group["weight_decay"])
        elif group["weight_decay"]:
            gradient = gradient.add(value, alpha=group["weight_decay"])
        first.lerp_(gradient, 1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = (second.sqrt() / correction2**0.5).add_(group["eps"])
        value.addcdiv_(first, denominator, value=-group["lr"] / correction1)
        for name, moment in zip(MOMENTS, (first, second), strict=True):
            if moment is not self.state[parameter][name]:
                self.set_scaled_state(parameter, name, moment)
        self._keep(parameter, value)

    def _value(self, parameter: Any) -> Any:
        """What is updated, in fp32: the parameter itself where it is fp32, else its master weight."""
        if parameter.dtype == torch.float32:
            return parameter
        if not self.master_weights:
            return parameter.float()
        if self._has_remainder(parameter):
            return joined(parameter, self.state[parameter][MASTER])
        return self.get_unscaled_state(parameter, MASTER)

    def _keep(self, parameter: Any, value: Any) -> None:
        if value is parameter:
            return
        if self.master_weights and self._has_remainder(parameter):
            rounded, remainder = parted(value)
            parameter.copy_(rounded)
            self.state[parameter][MASTER].copy_(remainder)
            return
        parameter.copy_(value)
        if self.master_weights and value is not self.state[parameter][MASTER]:
            self.set_scaled_state(parameter, MASTER, value)


def joined(parameter: Any, remainder: Any) -> Any:
    """fp32 numbers of bf16 ones, which are their upper half rounded, and their lower half as int16."""
    upper, lower = parameter.detach().view(torch.int16).int(), remainder.int()
    upper = torch.where(lower < 0, upper - 1, upper)  # it was rounded up
    return ((upper << 16) | (lower & 0xFFFF)).view(torch.float32)


def parted(value: Any) -> tuple[Any, Any]:
    """The other way round."""
    bits = value.contiguous().view(torch.int32)
    lower = (bits & 0xFFFF).to(torch.int16)
    upper = (bits >> 16) + (lower < 0).int()
    return upper.to(torch.int16).view(torch.bfloat16), lower

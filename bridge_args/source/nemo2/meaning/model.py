"""The model: its class, its division among ranks, its number formats."""

from __future__ import annotations

from typing import Any, Final

from bridge_args.bridge.families import read as families
from bridge_args.bridge.names import name_of
from bridge_args.mapping.convert import shown
from bridge_args.source.nemo2 import defaults
from bridge_args.source.nemo2.meaning.state import Meaning, whole
from bridge_args.values import Built, Symbol, to_plain

# Families with code of their own: the configuration of NeMo's, and the name of Bridge's class.
_FAMILIES: Final = (
    ("Gemma3Config", "Gemma3ModelProvider"),
    ("Gemma2Config", "Gemma2ModelProvider"),
    ("GemmaConfig", "GemmaModelProvider"),
    ("GPTOSSConfig", "GPTOSSProvider"),
    ("Llama4Config", "Llama4ModelProvider"),
)


# What NeMo works out on the machine that a run starts on, and Bridge too.
_OF_THE_MACHINE: Final = ("model.gradient_accumulation_fusion",)


# Settings of captured graphs, which nothing reads where there are none.
_OF_GRAPHS: Final = ("model.cuda_graph_scope", "model.cuda_graph_use_single_mempool", "model.cuda_graph_warmup_steps")


def ranks(m: Meaning) -> None:
    """How many processes the run has: see lightning's Trainer."""
    devices, nodes = m["trainer.devices"], m["trainer.num_nodes"]
    if isinstance(devices, list):
        devices = len(devices)
    if isinstance(devices, str) and devices.isdecimal():
        devices = int(devices)
    if whole(devices) and whole(nodes) and devices > 0 and nodes > 0:
        m.ranks = devices * nodes
        smallest = 1
        for size in ("tensor_model_parallel_size", "pipeline_model_parallel_size", "context_parallel_size"):
            value = m[f"strategy.{size}"]
            smallest *= value if whole(value) and value > 0 else 1
        if m.ranks % smallest:
            message = (
                f"{devices} devices x {nodes} nodes = {m.ranks} GPUs cannot be divided into groups of {smallest} "
                "(tensor x pipeline x context); the configuration is written for that many"
            )
            m.tell("assumed-world-size", "trainer.devices", message, "set it with --world-size N, or trainer.num_nodes")
            m.ranks = smallest


def parallelism(m: Meaning) -> None:
    """The strategy's sizes take the place of the model's.

    See nemo/lightning/_strategy_lib.py set_model_parallel_attributes.
    """
    config = defaults.find("nemo.lightning.pytorch.strategies.megatron_strategy.ParallelismConfig")
    if not m.has("strategy") or config is None:
        return
    for field in config.fields:
        name, theirs = f"model.{field}", f"strategy.{field}"
        if name in m:
            m.replaced[name] = theirs
            if name in m.stated and m[name] != m[theirs]:
                message = f"{name} = {shown(m[name])} is not used: NeMo puts {theirs} = {shown(m[theirs])} in its place"
                m.tell("ignored-by-megatron", name, message)
    if m["strategy.sequence_parallel"] and m["strategy.tensor_model_parallel_size"] == 1:
        m.derive("strategy.sequence_parallel", False, "strategy.tensor_model_parallel_size")
        message = (
            "sequence parallelism does nothing without tensor parallelism, and Megatron Core refuses it; it is off"
        )
        m.tell("done-otherwise", "strategy.sequence_parallel", message)
    m.replaced["ddp.num_distributed_optimizer_instances"] = "strategy.num_distributed_optimizer_instances"
    if m["strategy.fsdp"] == "megatron":
        m.derive("fsdp", True, "strategy.fsdp")
    if m["strategy.timeout"] is not None and whole(m["strategy.timeout"]):
        m.derive("distributed_timeout", max(1, m["strategy.timeout"] // 60), "strategy.timeout")
    if m["strategy.ddp"] == "pytorch":
        m.lost("strategy.ddp", "Bridge has Megatron's own DDP only.", "speed")


_SCALES: Final = {
    "fp16_loss_scale": "loss_scale",
    "fp16_initial_loss_scale": "initial_loss_scale",
    "fp16_min_loss_scale": "min_loss_scale",
    "fp16_loss_scale_window": "loss_scale_window",
    "fp16_hysteresis": "hysteresis",
}


def precision(m: Meaning) -> None:
    """The plugin's number formats take the place of the model's, the optimizer's and DDP's.

    See nemo/lightning/pytorch/plugins/mixed_precision.py, whose fields Bridge's MixedPrecisionConfig has.
    """
    name = "precision.precision"
    if name not in m:
        if m["trainer.precision"] is not None:
            m.lost("trainer.precision", "it is Lightning's own; Megatron's models have the precision plugin's.")
        if m["strategy.pipeline_dtype"] is not None:
            m.replaced["model.pipeline_dtype"] = "strategy.pipeline_dtype"
            m.derive("model.pipeline_dtype", m["strategy.pipeline_dtype"], "strategy.pipeline_dtype")
            m.replaced.pop("model.pipeline_dtype")
        return
    precision = str(m[name])
    bf16, fp16 = precision in ("bf16", "bf16-mixed"), precision in ("fp16", "fp16-mixed", "16", "16-mixed")
    half = Symbol("torch.bfloat16" if bf16 else "torch.float32")
    said = {field.partition(".")[2]: value for field, value in m.values.items() if field.startswith("precision.")}
    gather = said.get("fp8_params") if said.get("fp8_params") is not None else bool(said.get("fp8_param_gather"))
    wanted: dict[str, Any] = {
        **{key: value for key, value in said.items() if key not in ("precision", "fp8_params", "_target_", *_SCALES)},
        **{field: said[key] for key, field in _SCALES.items() if key in said},
        "bf16": bf16,
        "fp16": fp16,
        "params_dtype": said.get("params_dtype") or Symbol("torch.float32"),
        "pipeline_dtype": said.get("pipeline_dtype") or half,
        "autocast_dtype": said.get("autocast_dtype") or half,
        "fp8_param": gather,
        "fp8_param_gather": gather,
    }
    fields = m.schema.classes[name_of("mixed precision", m.bridge)]
    for field, value in wanted.items():
        for place in (f"model.{field}", f"optim.{field}", f"ddp.{field}"):
            if place in m:
                m.replaced[place] = f"precision.{field}"
                if place in m.stated and to_plain(m[place]) != to_plain(value):
                    theirs = f"the precision plugin's {shown(value)}"
                    message = f"{place} = {shown(m[place])} is not used: NeMo puts {theirs} in its place"
                    m.tell("ignored-by-megatron", place, message)
        if field not in fields and f"precision.{field}" in m.stated and value not in (None, False):
            m.lost(f"precision.{field}", f"Bridge {m.bridge} has no such setting.")
    inputs = tuple(one for one in m.stated if one.startswith("precision."))
    if not (bf16 or fp16):
        for field in ("bf16", "fp16", "params_dtype", "pipeline_dtype"):
            for place in (f"model.{field}", f"optim.{field}"):
                if place in m:
                    m.replaced.pop(place, None)
                    m.derive(place, wanted[field], *inputs)
        m.replaced.pop("ddp.grad_reduce_in_fp32", None)
        m.derive("ddp.grad_reduce_in_fp32", wanted.get("grad_reduce_in_fp32", True), *inputs)
        return
    plain = {field: to_plain(value) for field, value in wanted.items() if field in fields}
    for preset, values in m.schema.presets.items():
        if all(values.get(field) == value for field, value in plain.items()):
            m.derive("mixed_precision", preset, *inputs)
            return
    differing = {field: wanted[field] for field in fields if field in plain and plain[field] != fields[field].default}
    differing.pop("fp8_param", None)
    m.derive("mixed_precision", Built(name_of("mixed precision", m.bridge), differing), *inputs)


def model_class(m: Meaning) -> None:
    """Which class of Bridge's builds the model."""
    model = m.run.model
    generic = name_of("GPT model", m.bridge)
    family = next((theirs for ours, theirs in _FAMILIES if model.is_a(ours)), "")
    if "heterogeneous_layers_config_encoded_json" in model.fields:
        family = "LlamaNemotronHeterogeneousProvider"
    known = {one.rpartition(".")[2]: one for one in families(m.bridge)}
    if model.is_a("SSMConfig"):
        m.model_class = name_of("hybrid model", m.bridge)
    elif model.is_a("MLATransformerConfig"):
        m.model_class = name_of("model with latent attention", m.bridge) or generic
    elif family in known:
        m.model_class = known[family]
    else:
        m.model_class = generic
        expressible = family == "GPTOSSProvider" and m.field("model.yarn_beta_fast") is not None
        if family and not expressible:
            m.refuse(
                "model.num_layers",
                f"Bridge {m.bridge} has no class for models of NeMo's {model.name.rpartition('.')[2]} that can be "
                f"named here (Bridge 0.3.1 has {family}); its layers would be others. Use another version of Bridge",
            )
    m.derive("model_class", m.model_class)
    for name in _OF_THE_MACHINE:
        if name not in m.stated:
            m.defaults.pop(name, None)
            m.values.pop(name, None)
    if (
        m["model.cuda_graph_impl"] in (None, "none")
        and not m["model.enable_cuda_graph"]
        and not m["model.external_cuda_graph"]
    ):
        for name in _OF_GRAPHS:
            if name not in m.stated:
                m.defaults.pop(name, None)
                m.values.pop(name, None)


_OWN_FUNCTIONS: Final = (
    "model.transformer_layer_spec",
    "model.mamba_stack_spec",
    "model.forward_step_fn",
    "model.data_step_fn",
)


def functions(m: Meaning) -> None:
    """Functions of NeMo's that Bridge has its own of; a function of somebody else's is lost."""
    for name in _OWN_FUNCTIONS:
        usual = m.run.model.fields.get(name.partition(".")[2])
        value = m[name]
        if (
            name in m.stated
            and value is not None
            and value != usual
            and not str(value).startswith("nemo.collections.llm.")
        ):
            m.lost(name, "it is a function of its own; give Bridge's model one in Python.", "model")
    for name, value in list(m.values.items()):
        if name.startswith("model.") and isinstance(m.fitting(value), Symbol):
            path = m.fitting(value).path
            if path.startswith("nemo.") and name not in _OWN_FUNCTIONS and name != "model._target_":
                if name in m.stated:
                    m.lost(name, "Bridge has no function that computes the same.", "model")


def rope(m: Meaning) -> None:
    """Llama 3.1's scaling of rotary positions: see gpt/model/llama.py Llama31Config.configure_model."""
    factor = m["model.scale_factor"]
    if factor is not None:
        names = ("model.scale_factor", "model.low_freq_factor", "model.high_freq_factor", "model.old_context_len")
        m.derive("rope_on", True, *names)
        m.derive("rope_factor", float(factor), *names)
        for name, fixed in zip(names[1:], (1.0, 4.0, 8192), strict=True):
            if m[name] != fixed:
                m.lost(name, f"Megatron Core has {fixed}, and no setting for it.", "model")
    elif "model.rope_scaling" in m and m.field("model.rope_scaling") is not None:
        m.derive("rope_on", bool(m["model.rope_scaling"]), "model.rope_scaling")

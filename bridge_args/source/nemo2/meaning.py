"""What a configuration of NeMo 2.0 comes to in a run, for one version of Bridge: NeMo's own rules, one function an area.

A rule reads settings under NeMo's names and derives settings that have rows of their own in ``mappings/nemo/nemo2.yaml``;
what NeMo itself puts in the place of another value is said so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

from bridge_args.bridge.families import read as families
from bridge_args.bridge.families import schema_with
from bridge_args.bridge.names import name_of
from bridge_args.bridge.schema import Schema
from bridge_args.findings import CHANGES, Changes, Finding
from bridge_args.mapping.convert import shown
from bridge_args.mapping.folder import mappings_folder
from bridge_args.mapping.rows import Row
from bridge_args.mapping.settings import Derived, Stated, Statement
from bridge_args.mapping.table import Table, from_files
from bridge_args.source.nemo2 import defaults
from bridge_args.source.nemo2.flatten import Run
from bridge_args.values import Built, Member, Symbol, to_plain
from bridge_args.versions import Versions

AREA: Final = "nemo/nemo2"

# NeMo's functions, and those that compute the same in Bridge. See nemo/collections/llm/fn/activation.py, ssm.py.
_FUNCTIONS: Final = {
    "nemo.collections.llm.fn.activation.openai_gelu": "megatron.core.activations.fast_gelu",
    "nemo.collections.llm.fn.activation.squared_relu": "megatron.core.activations.squared_relu",
    "nemo.collections.llm.fn.activation.quick_gelu": "megatron.core.fusions.fused_bias_geglu.quick_gelu",
    "megatron.core.activations.quick_gelu": "megatron.core.fusions.fused_bias_geglu.quick_gelu",
    "nemo.collections.llm.gpt.model.ssm.NemotronHConfigBase.<lambda>": "megatron.core.activations.squared_relu",
}
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


@cache
def table_for(bridge: str) -> Table:
    """The rows of ``mappings/nemo/nemo2.yaml`` for a version of Bridge."""
    content = (mappings_folder() / "nemo" / "nemo2.yaml").read_bytes()
    return from_files([(AREA, content)], Versions("", bridge))


def said_to(run: Run, bridge: str) -> Statement:
    """The configuration as it is said to a version of Bridge."""
    meaning = Meaning(run, schema_with(bridge))
    for rule in RULES:
        rule(meaning)
    table = table_for(bridge)
    rows = {row.argument: row for row in _model_rows(meaning, table)}
    lines = tuple(line._replace(value=meaning.fitting(line.name, line.value)) for line in run.lines)
    return Statement(
        lines,
        table.with_rows([*rows.values(), *_replaced_rows(meaning)]),
        {name: meaning.fitting(name, value) for name, value in meaning.defaults.items()},
        tuple([*run.findings, *meaning.findings]),
        meaning.ranks,
        derived=meaning.derived,
        schema=meaning.schema,
        defaults_of={"model": f"the default of NeMo's {run.model.name.rpartition('.')[2]}"},
    )


class Meaning:
    """A configuration while it is worked out; filled by the rules.

    Attributes:
        stated: setting to its line.
        values: setting to its effective value: stated, else NeMo's default.
        derived: what the rules made.
        replaced: setting to what takes its place.
    """

    def __init__(self, run: Run, schema: Schema) -> None:
        self.run, self.schema, self.bridge = run, schema, schema.version
        self.stated = {line.name: line for line in run.lines}
        self.defaults = dict(run.defaults)
        self.values: dict[str, Any] = {**run.defaults, **{line.name: line.value for line in run.lines}}
        self.derived: dict[str, Derived] = {}
        self.replaced: dict[str, str] = {}
        self.findings: list[Finding] = []
        self.ranks: int | None = None
        self.model_class = ""

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __getitem__(self, name: str) -> Any:
        return self.values.get(name)

    def has(self, role: str) -> bool:
        """Is there an object with names that begin so?"""
        return any(name.startswith(f"{role}.") for name in self.values)

    def derive(self, name: str, value: Any, *inputs: str) -> None:
        self.derived[name] = Derived(value, inputs)

    def lost(self, name: str, why: str, changes: Changes = "numbers") -> None:
        line = self.stated.get(name)
        value = f" = {shown(self.values[name])}" if name in self.values else ""
        message = f"{name}{value} is lost: {why} This changes {CHANGES[changes]}."
        self.findings.append(
            Finding("no-equivalent", message, arguments=(name,), place=line.place if line else None, changes=changes)
        )

    def tell(self, kind: str, name: str, message: str, remedy: str = "") -> None:
        line = self.stated.get(name)
        self.findings.append(Finding(kind, message, remedy, (name,), line.place if line else None))

    def refuse(self, name: str, message: str) -> None:
        self.tell("bridge-rejects", name, message)

    def field(self, name: str) -> Any:
        """The field of the model's class that a setting goes to under its own name."""
        return self.schema.find(name, {"model": self.model_class})

    def fitting(self, name: str, value: Any) -> Any:
        """The value with Bridge's functions in place of NeMo's, and members of enums by name."""
        if isinstance(value, Symbol) and value.path in _FUNCTIONS:
            return Symbol(_FUNCTIONS[value.path])
        if isinstance(value, str) and value in _FUNCTIONS:
            return Symbol(_FUNCTIONS[value])
        if isinstance(value, Member) and not value.name:
            names = self.schema.enums.get(value.enum, {})
            found = next((one for one, number in names.items() if number == value.value), None)
            return Member(value.enum, found, value.value) if found else value.value
        if isinstance(value, list):
            return [self.fitting(name, one) for one in value]
        return value


# ---------------------------------------------------------------------------------------------------------------- rows


def _model_rows(m: Meaning, table: Table) -> Iterator[Row]:
    """A row for every field of the model's configuration, the optimizer's and DDP's that has none written."""
    generic = defaults.find("nemo.collections.llm.gpt.model.base.GPTConfig")
    usual = generic.fields if generic else {}
    for name, value in m.values.items():
        section, _, field = name.partition(".")
        path = {"model": name, "optim": f"optimizer.{field}", "ddp": name}.get(section)
        if path is None or name in table.rows:
            continue
        if m.schema.find(path, {"model": m.model_class}) is not None:
            yield Row(name, "to", (path,), see=(f"nemo {defaults.version()}: {m.run.model.name} {field}",), area=AREA)
            continue
        reason = f"Bridge {m.bridge} has no setting for it."
        yield Row(name, "no_equivalent", reason=reason, area=AREA, see=(path,), changes="model" if section == "model" else "numbers")  # fmt: skip
        if section == "model" and name not in m.stated and (field not in usual or usual[field] != value) and value is not None:
            m.lost(name, f"{m.run.model.name.rpartition('.')[2]} has it, and {reason}", "model")


def _replaced_rows(m: Meaning) -> Iterator[Row]:
    for name, by in m.replaced.items():
        yield Row(name, "not_needed", reason=f"NeMo puts {by} in its place.", area=AREA)


# --------------------------------------------------------------------------------------------------------------- rules


def _ranks(m: Meaning) -> None:
    """How many processes the run has: see lightning's Trainer."""
    devices, nodes = m["trainer.devices"], m["trainer.num_nodes"]
    if isinstance(devices, list):
        devices = len(devices)
    if isinstance(devices, str) and devices.isdecimal():
        devices = int(devices)
    if _whole(devices) and _whole(nodes) and devices > 0 and nodes > 0:
        m.ranks = devices * nodes
        smallest = 1
        for size in ("tensor_model_parallel_size", "pipeline_model_parallel_size", "context_parallel_size"):
            value = m[f"strategy.{size}"]
            smallest *= value if _whole(value) and value > 0 else 1
        if m.ranks % smallest:
            message = (
                f"{devices} devices x {nodes} nodes = {m.ranks} GPUs cannot be divided into groups of {smallest} (tensor x "
                "pipeline x context); the configuration is written for that many"
            )
            m.tell("assumed-world-size", "trainer.devices", message, "set it with --world-size N, or trainer.num_nodes")
            m.ranks = smallest


def _parallelism(m: Meaning) -> None:
    """The strategy's sizes take the place of the model's: see nemo/lightning/_strategy_lib.py set_model_parallel_attributes."""
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
        message = "sequence parallelism does nothing without tensor parallelism, and Megatron Core refuses it; it is off"
        m.tell("done-otherwise", "strategy.sequence_parallel", message)
    m.replaced["ddp.num_distributed_optimizer_instances"] = "strategy.num_distributed_optimizer_instances"
    if m["strategy.fsdp"] == "megatron":
        m.derive("fsdp", True, "strategy.fsdp")
    if m["strategy.timeout"] is not None and _whole(m["strategy.timeout"]):
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


def _precision(m: Meaning) -> None:
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
                    message = f"{place} = {shown(m[place])} is not used: NeMo puts the precision plugin's {shown(value)} in its place"
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


def _model(m: Meaning) -> None:
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
                f"Bridge {m.bridge} has no class for models of NeMo's {model.name.rpartition('.')[2]} that can be named "
                f"here (Bridge 0.3.1 has {family}); its layers would be others. Use another version of Bridge",
            )
    m.derive("model_class", m.model_class)
    for name in _OF_THE_MACHINE:
        if name not in m.stated:
            m.defaults.pop(name, None)
            m.values.pop(name, None)
    if m["model.cuda_graph_impl"] in (None, "none") and not m["model.enable_cuda_graph"] and not m["model.external_cuda_graph"]:
        for name in _OF_GRAPHS:
            if name not in m.stated:
                m.defaults.pop(name, None)
                m.values.pop(name, None)


_OWN_FUNCTIONS: Final = ("model.transformer_layer_spec", "model.mamba_stack_spec", "model.forward_step_fn", "model.data_step_fn")


def _functions(m: Meaning) -> None:
    """Functions of NeMo's that Bridge has its own of; a function of somebody else's is lost."""
    for name in _OWN_FUNCTIONS:
        usual = m.run.model.fields.get(name.partition(".")[2])
        value = m[name]
        if name in m.stated and value is not None and value != usual and not str(value).startswith("nemo.collections.llm."):
            m.lost(name, "it is a function of its own; give Bridge's model one in Python.", "model")
    for name, value in list(m.values.items()):
        if name.startswith("model.") and isinstance(m.fitting(name, value), Symbol):
            path = m.fitting(name, value).path
            if path.startswith("nemo.") and name not in _OWN_FUNCTIONS and name != "model._target_":
                if name in m.stated:
                    m.lost(name, "Bridge has no function that computes the same.", "model")


def _rope(m: Meaning) -> None:
    """Llama 3.1's scaling of rotary positions: see nemo/collections/llm/gpt/model/llama.py Llama31Config.configure_model."""
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


def _run_length(m: Meaning) -> None:
    steps = m["trainer.max_steps"]
    if "trainer.max_steps" in m and not (_whole(steps) and steps > 0):
        m.refuse("trainer.max_steps", f"trainer.max_steps = {shown(steps)}: Bridge needs the number of iterations; set it")
    if _whole(m["trainer.max_epochs"]) and m["trainer.max_epochs"] not in (-1, None):
        m.lost("trainer.max_epochs", "Bridge counts iterations, not epochs; trainer.max_steps is what counts.")
    if m["trainer.gradient_clip_val"]:
        m.lost("trainer.gradient_clip_val", "NeMo's optimizer clips by optim.clip_grad; set that.")
    if m["trainer.deterministic"] and m.field("model.deterministic_mode") is not None:
        m.derive("model.deterministic_mode", True, "trainer.deterministic")


def _validation(m: Meaning) -> None:
    """See lightning's Trainer: a whole number is a number of batches, a float a part of all of them."""
    interval = "trainer.val_check_interval"
    if _whole(m[interval]):
        m.derive("eval_interval", m[interval], interval)
    elif isinstance(m[interval], float):
        m.lost(interval, "it is a part of an epoch, and Bridge validates after a number of iterations; set eval_interval.")
    names = ("trainer.limit_val_batches", "trainer.limit_test_batches")
    numbers = {name: m[name] for name in names if _whole(m[name])}
    for name in names:
        if isinstance(m[name], float):
            m.lost(name, "it is a part of all batches, and Bridge validates with a number of them; set eval_iters.")
    if names[0] in m and m[names[0]] is None and m["trainer.max_steps"] is not None:
        message = "trainer.limit_val_batches is not set: NeMo validates with all batches, Bridge with eval_iters of them"
        m.tell("done-otherwise", names[0], message, "set it if the default of Bridge's is not what you want")
    if numbers:
        m.derive("eval_iters", max(numbers.values()), *numbers)
    if len(set(numbers.values())) > 1:
        smaller = min(numbers, key=lambda name: numbers[name])
        m.lost(smaller, f"Bridge has one setting for both, and the larger number, {max(numbers.values())}, is taken.", "logs")


_STYLES: Final = {
    "CosineAnnealingScheduler": "cosine",
    "WarmupAnnealingScheduler": "linear",
    "WarmupPolicyScheduler": "constant",
}


def _learning_rate(m: Meaning) -> None:
    """See nemo/core/optim/lr_scheduler.py, and megatron/core/optimizer_param_scheduler.py."""
    name, steps = m.run.lr_scheduler.name.rpartition(".")[2] if m.run.lr_scheduler else "", m["trainer.max_steps"]
    if m.has("optim"):
        if not name:
            m.derive("lr_decay_style", "constant")
            return
        if name not in _STYLES:
            m.derive("lr_decay_style", "constant", "lr_scheduler._target_")
            m.lost("lr_scheduler._target_", f"Bridge has no schedule like {name}; the rate stays as it is.")
            return
        m.derive("lr_decay_style", _STYLES[name], "lr_scheduler._target_")
    if not name:
        return
    m.derive("min_lr", m["lr_scheduler.min_lr"], "lr_scheduler.min_lr")
    warmup, ratio, constant = m["lr_scheduler.warmup_steps"], m["lr_scheduler.warmup_ratio"], m["lr_scheduler.constant_steps"]
    if warmup is None and ratio is not None and _whole(steps):
        warmup = int(ratio * steps)
    held = constant if _whole(constant) else 0
    if _whole(steps) and steps > 0:
        if held >= steps:
            m.lost("lr_scheduler.constant_steps", f"they are not fewer than the {steps} steps of the run.")
            held = 0
        m.derive("lr_decay_iters", steps - held, "trainer.max_steps", "lr_scheduler.constant_steps")
    m.derive("lr_warmup_iters", warmup or 0, "lr_scheduler.warmup_steps", "lr_scheduler.warmup_ratio")
    if warmup and not held:
        message = (
            f"warming up is counted otherwise: NeMo has (step + 1) / ({warmup} + 1) of the rate at a step, Bridge step / "
            f"{warmup}; the rates differ by less than one step's worth"
        )
        m.tell("done-otherwise", "lr_scheduler.warmup_steps", message)


def _optimizer(m: Meaning) -> None:
    if m["optimizer.lr_mult"] not in (None, 1.0, 1):
        m.lost("optimizer.lr_mult", "Bridge has no multiplier for some weights' rates.")
    if "optim.use_distributed_optimizer" in m:
        m.replaced["ddp.use_distributed_optimizer"] = "optim.use_distributed_optimizer"


def _checkpoints(m: Meaning) -> None:
    """See nemo/lightning/nemo_logger.py and resume.py."""
    folder = m["ModelCheckpoint.dirpath"]
    inputs = ["ModelCheckpoint.dirpath"]
    logs = m["NeMoLogger.explicit_log_dir"]
    if logs is None and m.has("NeMoLogger"):
        parts = [str(m["NeMoLogger.log_dir"] or "nemo_experiments"), str(m["NeMoLogger.name"] or "default")]
        logs = "/".join([*parts, *([str(m["NeMoLogger.version"])] if m["NeMoLogger.version"] else [])])
        inputs += ["NeMoLogger.log_dir", "NeMoLogger.name", "NeMoLogger.version"]
    if folder is None and logs is not None:
        folder = f"{logs}/checkpoints"
    saves = m.has("ModelCheckpoint") and m["trainer.enable_checkpointing"] is not False
    save = folder if saves else None
    if save is not None:
        m.derive("save", str(save), *inputs)
    if "strategy.ckpt_async_save" in m:
        m.derive("async_save", bool(m["strategy.ckpt_async_save"]) and save is not None, "strategy.ckpt_async_save")
    only = bool(m["ModelCheckpoint.save_weights_only"]) or m["strategy.ckpt_save_optimizer"] is False
    if save is not None:
        m.derive("save_optim", not only, "ModelCheckpoint.save_weights_only", "strategy.ckpt_save_optimizer")
    format = m["strategy.save_ckpt_format"]
    if format is not None:
        if format == "zarr":
            m.lost("strategy.save_ckpt_format", "Bridge writes torch_dist.", "logs")
        m.derive("ckpt_format", "torch_dist" if format == "zarr" else format, "strategy.save_ckpt_format")
    strict = m["strategy.ckpt_load_strictness"]
    if isinstance(strict, str):
        m.derive("dist_ckpt_strictness", strict.lower(), "strategy.ckpt_load_strictness")
    elif isinstance(strict, bool):
        m.derive("dist_ckpt_strictness", "assume_ok_unexpected" if strict else "log_all", "strategy.ckpt_load_strictness")
    _resume(m, str(folder) if folder is not None else None)


def _resume(m: Meaning, folder: str | None) -> None:
    place = m["AutoResume.resume_from_path"] or m["AutoResume.resume_from_directory"] or m["trainer.ckpt_path"]
    names = ("AutoResume.resume_from_path", "AutoResume.resume_from_directory", "trainer.ckpt_path")
    if place is None and m["AutoResume.resume_if_exists"]:
        place = folder
    if place is not None:
        m.derive("load", str(place), *names, "AutoResume.resume_if_exists")
        if "AutoResume.resume_ignore_no_checkpoint" in m and m["RestoreConfig.path"] is None:
            ignore = bool(m["AutoResume.resume_ignore_no_checkpoint"])
            m.derive("exit_on_missing_checkpoint", not ignore, "AutoResume.resume_ignore_no_checkpoint")
    start = m["RestoreConfig.path"] or m["AutoResume.import_path"]
    if isinstance(start, str):
        scheme, _, rest = start.rpartition("://")
        m.derive("pretrained_checkpoint", rest or start, "RestoreConfig.path")
        if scheme:
            message = (
                f"{start} is NeMo's name for a model of Hugging Face that it has imported; Bridge needs a checkpoint of "
                f"Megatron's at checkpoint.pretrained_checkpoint ({rest or start})"
            )
            m.tell("stops-later", "RestoreConfig.path", message, "make one with `bridge-args checkpoint import`, and give its folder")
    elif m.run.peft is not None:
        m.derive("pretrained_checkpoint", "pretrained_checkpoint")
        m.refuse("peft._target_", "adapters need the checkpoint of the model that they adapt; set checkpoint.pretrained_checkpoint")


_SCHEMES: Final = ("hf://", "nemo://")


def _tokenizer(m: Meaning) -> None:
    """See nemo/collections/common/tokenizers/tokenizer_utils.py get_nmt_tokenizer."""
    library, name = m["tokenizer.library"], m["tokenizer.model_name"] or m["tokenizer.pretrained_model_name"]
    target = str(m["tokenizer._target_"] or "").rpartition(".")[2]
    model = m["tokenizer.tokenizer_model"] or m["tokenizer.model_path"]
    if target == "AutoTokenizer" or library in ("huggingface", "huggingface_bert"):
        _hugging_face(m, name)
    elif target == "SentencePieceTokenizer" or library == "sentencepiece" or name == "GPTSentencePieceTokenizer":
        m.derive("tokenizer_type", "SentencePieceTokenizer", "tokenizer.library", "tokenizer.model_name")
        m.derive("tokenizer_model", model, "tokenizer.tokenizer_model", "tokenizer.model_path")
        if model is None:
            m.tell("stops-later", "tokenizer.library", "the tokenizer has no file, which NeMo needs as much as Bridge", "set tokenizer.tokenizer_model")
    elif target == "TiktokenTokenizer" or library == "tiktoken":
        m.derive("tokenizer_type", "TikTokenizer", "tokenizer.library")
        m.derive("tokenizer_model", model or m["tokenizer.vocab_file"], "tokenizer.tokenizer_model", "tokenizer.vocab_file")
    elif target == "NullTokenizer" or library == "null-text":
        m.derive("tokenizer_type", "NullTokenizer", "tokenizer.library")
        m.derive("tokenizer_vocab_size", m["tokenizer.vocab_size"], "tokenizer.vocab_size")
    elif library == "megatron" and m["tokenizer.vocab_file"]:
        m.derive("tokenizer_type", "GPT2BPETokenizer", "tokenizer.library", "tokenizer.model_name")
        m.derive("vocab_file", m["tokenizer.vocab_file"], "tokenizer.vocab_file")
        m.derive("merge_file", m["tokenizer.merges_file"], "tokenizer.merges_file")
    elif target or library:
        _of_the_model(m)
        m.lost("tokenizer._target_", f"Bridge has no tokenizer like NeMo's {library or target}.", "numbers")
    else:
        _of_the_model(m)


def _hugging_face(m: Meaning, name: Any) -> None:
    m.derive("tokenizer_type", "HuggingFaceTokenizer", "tokenizer.library")
    m.derive("tokenizer_model", name, "tokenizer.model_name", "tokenizer.pretrained_model_name")
    keywords = {
        key: m[f"tokenizer.{key}"] for key in ("use_fast", "trust_remote_code", "include_special_tokens")
        if f"tokenizer.{key}" in m.stated and m[f"tokenizer.{key}"] is not None
    }  # fmt: skip
    if keywords:
        m.derive("hf_tokenizer_kwargs", keywords, *(f"tokenizer.{key}" for key in keywords))


def _of_the_model(m: Meaning) -> None:
    """No tokenizer is given: NeMo takes that of the model it starts from, or GPT-2's."""
    start = m["RestoreConfig.path"]
    if isinstance(start, str) and start.startswith(_SCHEMES) and start.partition("://")[2]:
        name = start.partition("://")[2]
        m.derive("tokenizer_type", "HuggingFaceTokenizer", "RestoreConfig.path")
        m.derive("tokenizer_model", name, "RestoreConfig.path")
        message = f"the tokenizer is that of the model, {name}: NeMo keeps it with the checkpoint it starts from"
        m.tell("assumed-value", "tokenizer", message)
        return
    vocabulary = m["model.vocab_size"]
    size = vocabulary if _whole(vocabulary) else 50257
    m.derive("tokenizer_type", "NullTokenizer")
    m.derive("tokenizer_vocab_size", size)
    if m.run.data is None or m.run.data.is_a("MockDataModule"):
        message = f"no tokenizer is given: one without text, of {size} tokens, stands for it, as the data are made up"
        m.tell("assumed-value", "data._target_", message)
    else:
        m.refuse("data._target_", "the configuration says no tokenizer that can be named; set tokenizer.tokenizer_type and tokenizer.tokenizer_model")


def _data(m: Meaning) -> None:
    """See nemo/collections/llm/gpt/data."""
    length = m["data.seq_length"] if _whole(m["data.seq_length"]) else m["model.seq_length"]
    m.derive("seq_length", length, "data.seq_length")
    if m.run.data is not None and _whole(m["model.seq_length"]) and length != m["model.seq_length"]:
        if m["model.position_embedding_type"] == "learned_absolute":
            message = f"the model learns {m['model.seq_length']} positions in NeMo, and {length}, one a token of a sequence, in Bridge"
            m.findings.append(Finding("no-equivalent", message, arguments=("model.seq_length",), changes="numbers"))
    for name in ("rampup_batch_size",):
        if m[f"data.{name}"] is None:
            m.defaults.pop(f"data.{name}", None)
    data = m.run.data
    if data is None:
        m.derive("dataset_class", m.schema.sections["dataset"].classes[0])
    elif data.is_a("PreTrainingDataModule"):
        _pretraining(m)
    elif data.is_a("FineTuningDataModule"):
        _fine_tuning(m, data.name.rpartition(".")[2])
    elif data.is_a("MockDataModule"):
        _of_gpt(m)
    else:
        _of_gpt(m)
        m.lost("data._target_", f"Bridge has no data like NeMo's {data.name.rpartition('.')[2]}; made-up data stand for them.")


def _of_gpt(m: Meaning) -> None:
    m.derive("dataset_class", m.schema.sections["dataset"].classes[0], "data._target_")
    m.derive("random_seed", m["data.seed"] if _whole(m["data.seed"]) else 1234, "data.seed")
    for name in ("reset_position_ids", "reset_attention_mask", "eod_mask_loss"):
        m.derive(name, bool(m[f"data.{name}"]), f"data.{name}")
    mask = m["data.create_attention_mask"]
    m.derive("attention_mask", not mask, "data.create_attention_mask")


def _pretraining(m: Meaning) -> None:
    _of_gpt(m)
    paths = m["data.paths"]
    if isinstance(paths, dict):
        names = ("train", "validation", "test")
        m.derive("blend_per_split", [_blend(paths.get(name)) for name in names], "data.paths")
    else:
        m.derive("blend", _blend(paths), "data.paths")
        m.derive("split", m["data.split"], "data.split")
    if "data.dataset_cls" in m.stated and not str(m["data.dataset_cls"]).endswith("GPTDataset"):
        m.lost("data.dataset_cls", "Bridge builds Megatron Core's GPTDataset.")


def _blend(paths: Any) -> Any:
    from bridge_args.mapping.sections.data import blend

    if paths is None:
        return None
    words = [str(path) for path in (paths if isinstance(paths, list) else [paths])]
    return blend(words)


# Data of Hugging Face that Bridge prepares too; of the others the prepared folder has to be given.
_PREPARED: Final = {"SquadDataModule": "squad"}
_CACHE: Final = "nemo/datasets"


def _fine_tuning(m: Meaning, name: str) -> None:
    """See nemo/collections/llm/gpt/data/fine_tuning.py: training.jsonl, validation.jsonl and test.jsonl in a folder."""
    classes = m.schema.sections["dataset"].classes
    by_name = {one.rpartition(".")[2]: one for one in classes}
    root = m["data.dataset_root"]
    prepared = _PREPARED.get(name)
    newer = "GPTSFTDatasetConfig" in by_name
    if newer:
        m.derive("dataset_class", by_name["GPTSFTDatasetConfig"], "data._target_")
        m.derive("preprocessing", _preprocessing(m))
    elif prepared:
        m.derive("dataset_class", by_name["HFDatasetConfig"], "data._target_")
    else:
        m.derive("dataset_class", by_name["FinetuningDatasetConfig"], "data._target_")
    m.derive("finetuning_seed", m["data.seed"] if _whole(m["data.seed"]) else 1234, "data.seed")
    m.derive("memmap_workers", m["data.memmap_workers"], "data.memmap_workers")
    if prepared and newer:
        source = "megatron.bridge.data.sources.hf.HFDatasetSourceConfig"
        m.derive("hf_dataset", Built(source, {"dataset_name": prepared}), "data._target_")
        m.derive("hf_test_dataset", Built(source, {"dataset_name": prepared, "split": "validation"}), "data._target_")
        m.derive("val_proportion", 0.05, "data._target_")
        if root is not None:
            m.derive("hf_output_root", str(root), "data.dataset_root")
    elif prepared:
        m.derive("dataset_name", prepared, "data._target_")
        m.derive("process_example_fn", Symbol("megatron.bridge.data.hf_processors.squad.process_squad_example"), "data._target_")
        m.derive("val_proportion", 0.05, "data._target_")
        if "data.delete_raw" in m:
            m.derive("delete_raw", bool(m["data.delete_raw"]), "data.delete_raw")
    if root is not None and not (prepared and newer):
        m.derive("dataset_root", str(root), "data.dataset_root")
    elif root is None and not prepared:
        m.refuse("data._target_", f"Bridge does not prepare the data of {name}; set data.dataset_root to the folder that NeMo has prepared (with training.jsonl)")
    keywords = m["data.dataset_kwargs"]
    if isinstance(keywords, dict) and keywords:
        m.derive("dataset_kwargs", keywords, "data.dataset_kwargs")
    _packing(m, newer)
    if _whole(m["strategy.context_parallel_size"]) and m["strategy.context_parallel_size"] > 1:
        m.derive("calculate_per_token_loss", True, "strategy.context_parallel_size")
        m.derive("average_in_collective", False, "strategy.context_parallel_size")
        message = "Bridge fine-tunes with a divided context only with the loss per token; it is switched on"
        m.tell("done-otherwise", "strategy.context_parallel_size", message)


def _preprocessing(m: Meaning) -> Built:
    """NeMo's prompt and answer, with a space between: see gpt/data/core.py GPTSFTDataset."""
    return Built(
        "megatron.bridge.data.sft_processing.PromptCompletionSFTPreprocessingConfig",
        {"prompt_column": "input", "completion_column": "output", "separator": " "},
    )


def _packing(m: Meaning, newer: bool) -> None:
    size = m["PackedSequenceSpecs.packed_sequence_size"]
    if not (_whole(size) and size > 0):
        return
    names = ("packed_sequence_size", "tokenizer_model_name", "packed_train_data_path", "packed_val_data_path",
             "packed_metadata_path", "pad_cu_seqlens")  # fmt: skip
    said = {name: m[f"PackedSequenceSpecs.{name}"] for name in names if m[f"PackedSequenceSpecs.{name}"] is not None}
    place = "megatron.bridge.data.packing.config" if newer else "megatron.bridge.data.datasets.packed_sequence"
    m.derive("packed_sequences", Built(f"{place}.PackedSequenceSpecs", said), *(f"PackedSequenceSpecs.{name}" for name in said))
    if newer:
        m.derive("packing_on", True, "PackedSequenceSpecs.packed_sequence_size")


_PEFT: Final = {
    "LoRA": "megatron.bridge.peft.lora.LoRA",
    "DoRA": "megatron.bridge.peft.dora.DoRA",
    "CanonicalLoRA": "megatron.bridge.peft.canonical_lora.CanonicalLoRA",
}


def _adapters(m: Meaning) -> None:
    if m.run.peft is None:
        return
    name = m.run.peft.name.rpartition(".")[2]
    if _PEFT.get(name) not in m.schema.sections["peft"].classes:
        m.lost("peft._target_", f"Bridge {m.bridge} has no adapters like {name}; all weights would be trained.", "model")
        return
    m.derive("peft_class", _PEFT[name], "peft._target_")


def _loggers(m: Meaning) -> None:
    """See nemo/lightning/nemo_logger.py NeMoLogger._setup_trainer_loggers."""
    folder = m["TensorBoardLogger.save_dir"]
    if folder is not None:
        inputs = ["TensorBoardLogger.save_dir"]
        if m["NeMoLogger.update_logger_directory"] is not False and m.has("NeMoLogger") and not str(folder).startswith("/"):
            folder = f"{m['NeMoLogger.log_dir'] or 'nemo_experiments'}/{folder}"
            inputs += ["NeMoLogger.log_dir"]
        name = m["TensorBoardLogger.name"]
        m.derive("tensorboard_dir", f"{folder}/{name}" if name else str(folder), *inputs, "TensorBoardLogger.name")


def _callbacks(m: Meaning) -> None:
    """Callbacks and plugins that are settings in Bridge."""
    if m.has("DeepEPCallback"):
        m.derive("model.moe_token_dispatcher_type", "flex", "DeepEPCallback._target_")
        m.derive("model.moe_enable_deepep", True, "DeepEPCallback._target_")
        m.derive("model.moe_shared_expert_overlap", False, "DeepEPCallback._target_")
        m.values |= {"model.moe_enable_deepep": True}
    if m.has("MegatronTokenDropCallback"):
        factor = m["MegatronTokenDropCallback.moe_expert_capacity_factor"]
        m.derive("model.moe_expert_capacity_factor", factor if factor is not None and factor >= 0 else None, "MegatronTokenDropCallback.moe_expert_capacity_factor")
        pad = bool(m["MegatronTokenDropCallback.moe_pad_expert_input_to_capacity"])
        m.derive("model.moe_pad_expert_input_to_capacity", pad, "MegatronTokenDropCallback.moe_pad_expert_input_to_capacity")
    if m.has("GarbageCollectionCallback"):
        train, val = m["GarbageCollectionCallback.gc_interval_train"], m["GarbageCollectionCallback.gc_interval_val"]
        m.derive("manual_gc", True, "GarbageCollectionCallback._target_")
        m.derive("manual_gc_eval", bool(val), "GarbageCollectionCallback.gc_interval_val")
        if val and val != train:
            m.lost("GarbageCollectionCallback.gc_interval_val", "Bridge collects once around a validation.", "speed")
    if m.has("MegatronEnableExperimentalCallback"):
        m.derive("experimental", True, "MegatronEnableExperimentalCallback._target_")
    for name in ("PreemptionCallback", "PreemptionPlugin"):
        if m.has(name):
            m.derive("exit_signal_handler", True, f"{name}._target_")
    if m["PreemptionCallback.sig"] is not None:
        m.derive("exit_signal", m["PreemptionCallback.sig"], "PreemptionCallback.sig")
    for name in ("NsysCallback", "NsysPlugin"):
        if m.has(name):
            m.derive("use_nsys_profiler", True, f"{name}._target_")
            _steps_of(m, name)
    if m.has("PytorchProfilerCallback"):
        m.derive("use_pytorch_profiler", True, "PytorchProfilerCallback._target_")
        _steps_of(m, "PytorchProfilerCallback")
        if m["PytorchProfilerCallback.trace_dir"]:
            m.derive("tensorboard_dir", str(m["PytorchProfilerCallback.trace_dir"]), "PytorchProfilerCallback.trace_dir")
    for name in ("MemoryProfileCallback", "MemoryProfilePlugin"):
        if m.has(name):
            m.derive("record_memory_history", True, f"{name}._target_")
            m.derive("memory_snapshot_path", f"{m[f'{name}.dir']}/snapshot.pickle", f"{name}.dir")
            if m[f"{name}.ranks"]:
                m.derive("profile_ranks", m[f"{name}.ranks"], f"{name}.ranks")
    if m.has("FaultTolerancePlugin"):
        m.derive("enable_ft_package", True, "FaultTolerancePlugin._target_")
    if m["MegatronCommOverlapCallback.tp_comm_overlap_cfg"] is not None:
        m.lost("MegatronCommOverlapCallback.tp_comm_overlap_cfg", "name one of Bridge's userbuffers in comm_overlap.tp_comm_overlap_cfg.", "speed")
    if m.has("WandbPlugin"):
        m.lost("WandbPlugin._target_", "set logger.wandb_project and logger.wandb_exp_name.", "logs")


def _steps_of(m: Meaning, name: str) -> None:
    for field, ours in (("start_step", "profile_step_start"), ("end_step", "profile_step_end"), ("ranks", "profile_ranks")):
        if m[f"{name}.{field}"] is not None:
            m.derive(ours, m[f"{name}.{field}"], f"{name}.{field}")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


Rule = Callable[[Meaning], None]
RULES: Final[tuple[Rule, ...]] = (
    _ranks,
    _model,
    _parallelism,
    _precision,
    _functions,
    _rope,
    _run_length,
    _validation,
    _learning_rate,
    _optimizer,
    _checkpoints,
    _tokenizer,
    _data,
    _adapters,
    _loggers,
    _callbacks,
)

__all__ = ["Meaning", "Stated", "said_to", "table_for"]

"""A run beside the checkpoint that it goes on from: what differs, and what counts in each program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bridge_args.bridge import schema as schemas
from bridge_args.checkpoint import layout, saved_args
from bridge_args.checkpoint.layout import CheckpointError
from bridge_args.emit.run_config import plain_settings
from bridge_args.mapping.goes_to import settings_of
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm.resolvers.overlay import Unread, alike
from bridge_args.records import Record
from bridge_args.resume.rules import (
    COMPARED,
    COMPARED_WITH_VOCABULARY,
    EXPERTS_BY_TENSORS,
    KIND_OF,
    KINDS,
    LEFT_OUT,
    SAVES_RERUNS,
    Continued,
    Verdict,
    verdict,
)
from bridge_args.source.yaml import plain
from bridge_args.source.yaml.nodes import YamlProblem
from bridge_args.steps import translate_saved
from bridge_args.values import to_plain
from bridge_args.versions import Versions, holds

# Where Bridge has what its rows put into several settings, or work out.
_ELSEWHERE: Final = {
    "swiglu": "model.gated_linear_unit",
    "activation_func": "model.activation_func",
    "max_position_embeddings": "model.seq_length",
}
# What an argument is called now, where both names go to one setting.
_NOW: Final = {"norm_epsilon": "layernorm_epsilon", "apply_layernorm_1p": "layernorm_zero_centered_gamma"}
# Written for one process or one run, or another form of what is compared anyway.
_NOT_COMPARED: Final = frozenset(
    (
        *("rank", "local_rank", "iteration", "consumed_train_samples", "consumed_valid_samples"),
        *("group_query_attention", "weight_decay"),
        *("load", "save", "pretrained_checkpoint", "ckpt_step", "finetune", "use_checkpoint_args"),
        *("override_opt_param_scheduler", "use_checkpoint_opt_param_scheduler", "no_load_optim", "no_load_rng"),
        *("encoder_num_layers", "encoder_seq_length", "params_dtype", "do_train", "do_valid", "do_test", "num_workers"),
    )
)


class Saved(Record):
    """What is known of a checkpoint.

    Attributes:
        where: its folder.
        kind: ``Megatron-LM`` or ``Megatron Bridge``.
        iteration: None for a release.
        args: the arguments of Megatron-LM that its run has saved; None for one of Bridge's.
        settings: the configuration, nested, in Bridge's words; None where it could not be put into them.
        legacy: a file for each rank.
    """

    where: str
    kind: str
    iteration: int | None
    args: Mapping[str, Any] | None
    settings: Mapping[str, Any] | None
    legacy: bool = False


class Row(Record):
    """One setting that differs, or that a checkpoint always decides.

    Attributes:
        name: as Megatron-LM calls the argument.
        saved, run: the values, in Megatron-LM's form, else in Bridge's; ``Ellipsis``: there is none.
        megatron_lm, bridge: what becomes of it; None where it is the same on that side, or not known.
    """

    name: str
    saved: Any
    run: Any
    megatron_lm: Verdict | None
    bridge: Verdict | None


class Resumption(Record):
    """What going on from a checkpoint means.

    Attributes:
        notes: what else is to be said.
    """

    saved: Saved
    translation: Translation
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def refused(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if "refused" in (_winner(row.megatron_lm), _winner(row.bridge)))


def _winner(found: Verdict | None) -> str:
    return found.winner if found is not None else ""


def read(path: Path, bridge: str) -> Saved:
    """A checkpoint of either program.

    Raises:
        UserError: there is none, or it says nothing of its run.
    """
    place = layout.place_of(path)
    name = place.kind.name if place.kind is not None else ""
    where = str(place.folder)
    if name == "bridge" and (place.folder / layout.RUN_CONFIG).is_file():
        return Saved(where, "Megatron Bridge", place.iteration, None, _settings_in(place.folder / layout.RUN_CONFIG))
    if not name.startswith("megatron-lm"):
        title = place.kind.title if place.kind is not None else "no known kind"
        raise CheckpointError(f"{where} is a checkpoint of {title}: nothing says how its run was configured")
    found = saved_args.read(place.folder)
    settings = plain_settings(translate_saved(found.values, bridge=bridge))
    return Saved(where, "Megatron-LM", found.iteration, found.values, settings, found.format == "legacy")


def _settings_in(file: Path) -> Mapping[str, Any]:
    try:
        return plain.mapping_in(file)
    except YamlProblem as problem:
        raise CheckpointError(str(problem)) from None


def resumption(saved: Saved, t: Translation) -> Resumption:
    """What counts when the run of a translation goes on from a checkpoint."""
    settings = plain_settings(t)
    ours = t.versions.megatron if saved.args is not None and t.program else None
    theirs = schemas.load(t.versions.bridge).core
    how_megatron = None if ours is None else _continued("megatron_lm", ours, saved, t)
    how_bridge = _continued("bridge", theirs, saved, t)
    old, new = (_computed(_of_args(args), True) for args in (saved.args or {}, {name: t.args[name] for name in t.args}))
    if all(finding.kind != "assumed-world-size" for finding in t.findings):
        new["world_size"] = t.world_size
    old_there, new_there = (_computed(_of_settings(one, t), False) for one in (saved.settings or {}, settings))
    rows = []
    for name in _names(saved, t):
        one = (_of_either(saved.args or {}, old, name), _of_either(t.args, new, name))
        two = (
            _of_either(_Paths(saved.settings or {}, t), old_there, name),
            _of_either(_Paths(settings, t), new_there, name),
        )
        differs = how_megatron is not None and _differ(*one)
        # What has no one setting of its own in Bridge is what it is in Megatron-LM's words.
        differs_there = differs if ... in two and saved.args is not None else _differ(*two)
        if saved.args is None and two[1] is None and name not in KIND_OF:
            continue  # worked out by Bridge when it started
        if differs or differs_there:
            values = one if saved.args is not None and ... not in one else two
            rows.append(
                Row(
                    name,
                    *values,
                    verdict(name, how_megatron) if differs and how_megatron is not None else None,
                    verdict(name, how_bridge) if differs_there else None,
                )
            )
    rows += _counters(saved, how_megatron, how_bridge)
    return Resumption(saved, t, tuple(rows), tuple(_notes(saved, t)))


def _counters(saved: Saved, megatron_lm: Continued | None, bridge: Continued) -> Iterator[Row]:
    samples = (saved.args or {}).get("consumed_train_samples", ...)
    values = {"iteration": saved.iteration if saved.iteration is not None else ..., "consumed_train_samples": samples}
    for name in KINDS["counter"]:
        ours = verdict(name, megatron_lm) if megatron_lm is not None else None
        yield Row(name, values.get(name, ...), ..., ours, verdict(name, bridge))


def _continued(program: Any, core: str, saved: Saved, t: Translation) -> Continued:
    args, before = t.args, _Either(saved, t)

    def on(name: str) -> bool:
        return args.is_on(name)

    finetune = on("finetune") or (not on("load") and on("pretrained_checkpoint")) or saved.iteration is None
    sizes = all(not _differ(before[name], args[name]) for name in KINDS["layout"])
    return Continued(
        program,
        core,
        finetune,
        not finetune and not on("no_load_optim") and not before.on("no_save_optim"),
        not finetune and not on("no_load_rng") and not before.on("no_save_rng") and sizes,
        on("override_opt_param_scheduler"),
        on("use_checkpoint_opt_param_scheduler"),
        on("use_distributed_optimizer"),
        before.on("dist_ckpt_optim_fully_reshardable"),
        "position_embedding_type" in args and args["position_embedding_type"] == "learned_absolute",
        on("vocab_file"),
        own_group=(_own_group(before.__getitem__, core), _own_group(args.__getitem__, core)),
        fewer=frozenset(name for name in LEFT_OUT if before.on(name) and not on(name)),
        all_keys="dist_ckpt_strictness" in args and args["dist_ckpt_strictness"] == "raise_all",
        experts=(_size(before["expert_model_parallel_size"]), _size(args["expert_model_parallel_size"])),
        sizes=sizes,
        own_rate=(before["decoupled_lr"] in (..., None)) is not on("decoupled_lr"),
        reruns=_reruns(saved, t),
    )


def _own_group(value: Callable[[str], Any], core: str) -> bool:
    """Are experts groups of parameters of their own?"""
    if _size(value("expert_model_parallel_size")) > 1:
        return True
    whole, of_experts = value("tensor_model_parallel_size"), value("expert_tensor_parallel_size")
    otherwise = type(of_experts) is int and of_experts != _size(whole)
    return otherwise and holds(EXPERTS_BY_TENSORS, Versions(core, "0"))


def _reruns(saved: Saved, t: Translation) -> bool:
    """Does the checkpoint have a state of the rerun machine for every process?"""
    mode = _Either(saved, t)["rerun_mode"]
    saver = t.versions.megatron if saved.args is not None else schemas.load(t.versions.bridge).core
    return isinstance(mode, str) and mode != "disabled" and holds(SAVES_RERUNS, Versions(saver, "0"))


def _size(value: Any) -> int:
    return value if type(value) is int else 1


class _Either:
    """What a checkpoint says of an argument, in the words of whoever has saved it."""

    def __init__(self, saved: Saved, t: Translation) -> None:
        self._saved, self._paths = saved, _Paths(saved.settings or {}, t)

    def __getitem__(self, name: str) -> Any:
        return self._saved.args.get(name, ...) if self._saved.args is not None else self._paths.get(name)

    def on(self, name: str) -> bool:
        value = self[name]
        if self._saved.args is None and name.startswith(("no_", "untie_")):  # Bridge has the positive
            return value is False
        return value is not ... and bool(value)


class _Paths:
    """Settings of a nested configuration by the arguments that go to them."""

    def __init__(self, settings: Mapping[str, Any], t: Translation) -> None:
        self._settings, self._bridge = settings, t.versions.bridge

    def get(self, name: str, default: Any = ...) -> Any:
        if name in ("bf16", "fp16"):
            return self._precision(name)
        try:
            paths = settings_of(name, self._bridge)
        except KeyError:
            paths = ()
        for path in paths[:1] or filter(None, (_ELSEWHERE.get(name),)):
            section, _, leaf = path.partition(".")
            body = self._settings.get(section)
            if isinstance(body, Mapping) and leaf in body:
                value = body[leaf]
                return {key: one for key, one in value.items() if key != "_name_"} if _is_member(value) else value
        return default

    def _precision(self, name: str) -> Any:
        """A section of its own, a recipe by its name, or the model's own setting."""
        section = self._settings.get("mixed_precision")
        if isinstance(section, Mapping):
            return bool(section.get(name))
        if isinstance(section, str):
            return name in section
        model = self._settings.get("model")
        return bool(model.get(name)) if isinstance(model, Mapping) else ...


def _is_member(value: Any) -> bool:
    """A member of an enum, beside whose value Bridge writes its name."""
    return isinstance(value, Mapping) and "_name_" in value and "_args_" in value


def _names(saved: Saved, t: Translation) -> list[str]:
    """What is compared: settings with a rule in their order, then all others by name."""
    ruled = [name for kind, names in KINDS.items() if kind != "counter" for name in names]
    ruled = [name for name in ruled if _NOW.get(name) not in t.catalog.defaults]
    compared = [name for name in (*COMPARED, *COMPARED_WITH_VOCABULARY) if name not in KIND_OF]
    others = sorted(set(t.catalog.defaults) - set(ruled) - set(compared) - _NOT_COMPARED)
    return [*ruled, *compared, *others]


def _of_either(values: Any, steps: Mapping[str, Any], name: str) -> Any:
    if name in steps:
        return steps[name]
    if isinstance(values, _Paths):
        return values.get(name)
    value = values[name] if name in values else ...
    return value if isinstance(value, Unread) else to_plain(value)  # which takes it for a list


def _differ(one: Any, other: Any) -> bool:
    if one is ... or other is ... or isinstance(one, Unread) or isinstance(other, Unread):
        return False
    one, other = to_plain(one), to_plain(other)
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return bool(one != other)
    return not alike(one, other)


# What the schedule counts in ------------------------------------------------------------------------------------------


def _of_args(args: Mapping[str, Any]) -> Callable[[str], Any]:
    return lambda name: args.get(name)


def _of_settings(settings: Mapping[str, Any], t: Translation) -> Callable[[str], Any]:
    paths = _Paths(settings, t)
    return lambda name: paths.get(name, None)


def _computed(value: Callable[[str], Any], of_megatron: bool) -> dict[str, Any]:
    return {**_steps(value), **_rows(value, of_megatron), **_activation(value, of_megatron)}


def _steps(value: Callable[[str], Any]) -> dict[str, Any]:
    """The lengths that both programs save with a schedule, in samples.

    See megatron/training/training.py get_optimizer_param_scheduler, and Bridge's
    training/config.py ConfigContainer._calculate_scheduler_steps.
    """
    samples, size = value("train_samples"), value("global_batch_size")
    if samples:
        decay, whole, warmup = value("lr_decay_samples") or samples, samples, value("lr_warmup_samples")
    else:
        iterations = value("train_iters")
        if not isinstance(iterations, int) or not isinstance(size, int):
            return {}
        decay, whole = (value("lr_decay_iters") or iterations) * size, iterations * size
        warmup = (value("lr_warmup_iters") or 0) * size
    fraction = value("lr_warmup_fraction")
    if fraction is not None:
        warmup = fraction * decay
    return {"lr_decay_steps": decay, "lr_warmup_steps": warmup or 0, "wd_incr_steps": whole}


def _activation(value: Callable[[str], Any], of_megatron: bool) -> dict[str, Any]:
    """The function of the MLP, which Megatron-LM has several flags for, and Bridge a setting."""
    if not of_megatron:
        return {}
    flags = {"squared_relu": "squared ReLU", "quick_geglu": "quick GELU", "swiglu": "SiLU"}
    return {"activation_func": next((name for flag, name in flags.items() if value(flag)), "GELU")}


def _rows(value: Callable[[str], Any], of_megatron: bool) -> dict[str, Any]:
    """How many rows the weights of queries, keys and values have, where all of them are in one matrix."""
    heads, hidden, groups = value("num_attention_heads"), value("hidden_size"), value("num_query_groups")
    if not isinstance(heads, int) or not isinstance(hidden, int) or value("multi_latent_attention"):
        return {}
    if groups is None or (of_megatron and not value("group_query_attention")):
        groups = heads
    width = value("kv_channels") or hidden // heads
    return {"num_query_groups": groups, "kv_channels": width, "attention_rows": (heads + 2 * groups) * width}


def _notes(saved: Saved, t: Translation) -> Iterator[str]:
    if not t.args.is_on("load") and not t.args.is_on("pretrained_checkpoint"):
        yield "the run names no checkpoint to go on from: add --load"
    if saved.legacy:
        yield "Bridge does not load a checkpoint with a file for each rank; convert it to torch_dist"
    if saved.args is None:
        yield "what Megatron-LM would do with a checkpoint of Bridge's is not known here"
        if _reruns(saved, t):
            yield f"{saved.where} does not say how many processes have saved it; with others Bridge does not load it"
    length = t.args["train_iters"] if "train_iters" in t.args else None
    if isinstance(length, int) and saved.iteration is not None and length <= saved.iteration:
        yield f"nothing is trained: the checkpoint is of iteration {saved.iteration}, and the run ends at {length}"

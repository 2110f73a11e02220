"""An adapter of PEFT's: what it changes in a model, and why it may not be merged into one. Without torch.

Verify: peft, tuners/lora/config.py (LoraConfig), tuners/lora/layer.py (merge, get_delta_weight), tuners/lora/model.py
(_create_and_replace), utils/other.py (get_pattern_key), utils/save_and_load.py (the names of what is saved).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from bridge_args.checkpoint.tensors import mapping_in
from bridge_args.checkpoint.unpickle import Refused as Unreadable
from bridge_args.convert import weights
from bridge_args.convert.weights import Entry
from bridge_args.records import Record
from bridge_args.wording import counted, listed

CONFIG: Final = "adapter_config.json"
FILE: Final = "adapter_model.safetensors"
DTYPES: Final = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}

# What a configuration may hold beside what is read here, and changes nothing of a merge.
_INERT: Final = frozenset(
    "auto_mapping base_model_name_or_path revision task_type inference_mode peft_type peft_version r lora_alpha "
    "lora_dropout fan_in_fan_out bias use_rslora rank_pattern alpha_pattern modules_to_save target_modules "
    "exclude_modules layers_to_transform layers_pattern megatron_core init_lora_weights lora_bias qalora_group_size "
    "eva_config corda_config loftq_config lora_ga_config enable_lora merge_weights".split()
)
_REFUSED: Final = {
    "use_dora": "DoRA scales the whole weight, and is not merged here",
    "use_qalora": "QALoRA groups the input, and is not merged here",
    "target_parameters": "matrices for parameters outside of linear layers are not merged here",
    "layer_replication": "a model with repeated layers has other names than its base",
    "megatron_config": "it was made for layers of Megatron's; give the base as --base-megatron",
    "trainable_token_indices": "single rows of the embeddings are not merged here",
    "alora_invocation_tokens": "an activated LoRA counts after certain tokens only, and cannot be merged",
    "arrow_config": "it is chosen among others at run time, and cannot be merged",
    "use_bdlora": "block-diagonal LoRA is not merged here",
    "velora_config": "VeLoRA is not merged here",
    "monteclora_config": "Monte Carlo LoRA is not merged here",
    "kasa_config": "KaSA is not merged here",
    "ensure_weight_tying": "matrices that are shared by the embeddings and the head are not merged here",
}
# These change the weights of the base when training begins: the adapter is no difference to that base.
_OTHER_BASE: Final = ("pissa", "corda", "olora", "loftq", "orthogonal", "mica", "lora_ga")

_PREFIX: Final = "base_model.model."
# A state_dict has the name of the adapter in its names; PEFT also loads those of the one that is called default.
_OF_DEFAULT: Final = re.compile(r"(?<=\.lora_[AB])\.default(?=\.(?:weight|bias)$)")
_NAMED: Final = re.compile(r".+\.lora_(?:[AB]|embedding_[AB])\.[^.]+(?:\.weight)?")
_HALF: Final = re.compile(r"(.+)\.(lora_[AB]\.(?:weight|bias)|lora_embedding_[AB])")
_HEADS: Final = ("lm_head", "embed_out")
_EMBEDDINGS: Final = re.compile(r"(?:.*\.)?(?:embed_tokens|wte|word_embeddings|embed_in)\.weight")
# Models with layers that keep their weight the other way round, and the names of these layers.
# Verify: transformers, pytorch_utils.py Conv1D, and who uses it.
TRANSPOSED: Final = frozenset("clvp decision_transformer gpt2 imagegpt openai-gpt".split())
_TRANSPOSED_LAYERS: Final = frozenset("c_attn q_attn c_proj c_fc".split())

_LONGEST_PATTERN: Final = 300
_QUANTIFIERS: Final = 3
_LISTED: Final = 4

Kind = Literal["linear", "transposed", "embedding"]


class Pair(Record):
    """Two matrices whose product is added to one weight.

    Attributes:
        kind: which way round, and how it is rounded.
        a, b: where they lie.
        scaling: of the product.
    """

    kind: Kind
    a: Entry
    b: Entry
    scaling: float


class Change(Record):
    """What becomes of one tensor of the base.

    Attributes:
        put: these values instead of its own; None: its own.
        pairs: are added, one after the other.
        bias: is added, times the number.
    """

    put: Entry | None = None
    pairs: tuple[Pair, ...] = ()
    bias: tuple[tuple[Entry, float], ...] = ()


class Adapter(Record):
    """An adapter on disk.

    Attributes:
        folder: of it.
        config: ``adapter_config.json``.
        entries: its tensors, without PEFT's prefix.
    """

    folder: Path
    config: Mapping[str, Any]
    entries: Mapping[str, Entry]

    @property
    def base(self) -> str:
        """The model that it was trained on, as the configuration names it."""
        return str(self.config.get("base_model_name_or_path") or "")


def read(folder: Path) -> tuple[Adapter | None, list[str]]:
    """The adapter, if it can be read, and why it may not be merged, as far as it can be told without the base."""
    if not folder.is_dir():
        return None, [f"{folder} is no folder" if folder.exists() else f"{folder} does not exist"]
    if not (folder / CONFIG).is_file():
        return None, [f"{folder} is no adapter of PEFT's: it has no {CONFIG}"]
    reasons: list[str] = []
    config: Mapping[str, Any] = {}
    try:
        config = mapping_in(folder / CONFIG)
        reasons += _against_config(folder / CONFIG, config)
    except (Unreadable, OSError) as error:
        reasons.append(_said(folder / CONFIG, error))
    if not (folder / FILE).is_file():
        pickled = (folder / "adapter_model.bin").exists()
        why = "; adapter_model.bin is pickled and not loaded: save it with safe_serialization=True" if pickled else ""
        return None, [*reasons, f"{folder / FILE} is missing{why}"]
    try:
        held = weights.read(folder / FILE)
    except (Unreadable, OSError) as error:
        return None, [*reasons, _said(folder / FILE, error)]
    named = {_OF_DEFAULT.sub("", entry.name.removeprefix(_PREFIX)): entry for entry in held.entries}
    if len(named) != len(held.entries):
        reasons.append(f"{folder / FILE} has one tensor under two names, with and without {_PREFIX} or .default")
    if wrong := _against_names(folder / FILE, held.entries, named):
        return None, [*reasons, *wrong]
    return (Adapter(folder, config, named), reasons) if config else (None, reasons)


def _against_names(file: Path, entries: Sequence[Entry], named: Mapping[str, Entry]) -> list[str]:
    """PEFT loads nothing of what has other names, and says so in a warning only."""
    again = "PEFT loads none of them; save the adapter with the model's save_pretrained"
    twice = [name for name in named if name.startswith(_PREFIX)]
    if twice:
        return [f"{file}: names begin twice with {_PREFIX}, as of a model that was wrapped twice: {again}"]
    if halves := [name for name in named if _HALF.fullmatch(name)]:
        if empty := [name for name in halves if not named[name].size]:
            return [
                f"{file} has no numbers for {_some(empty)}: the parts of several processes were not gathered when it "
                "was saved (ZeRO-3, FSDP)"
            ]
        return []
    if odd := [entry.name for entry in entries if _NAMED.fullmatch(entry.name)]:
        return [f"{file} has the name of an adapter in its names ({odd[0][:160]}): {again}"]
    return [f"{file} has no matrices of LoRA"]


def _said(file: Path, error: Exception) -> str:
    return f"{file} cannot be read: {error.strerror or error}" if isinstance(error, OSError) else str(error)


def _against_config(file: Path, config: Mapping[str, Any]) -> list[str]:
    kind = config.get("peft_type")
    if kind != "LORA":
        return [f"{file}: peft_type is {kind}; only LORA is merged"]
    reasons = [f"{file}: {name} is set: {why}" for name, why in _REFUSED.items() if config.get(name)]
    unknown = sorted(name for name, value in config.items() if name not in _INERT and name not in _REFUSED and value)
    if unknown:
        reasons.append(f"{file}: {_some(unknown)}: not known here, nor what that means for a merge")
    init = config.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower().startswith(_OTHER_BASE):
        reasons.append(
            f"{file}: init_lora_weights is {init[:40]}: its base is not the model that is named, but one whose weights "
            "were changed before training; convert the adapter with PEFT first"
        )
    elif not isinstance(init, bool) and str(init).lower() not in ("gaussian", "eva", "none"):
        reasons.append(f"{file}: init_lora_weights is {str(init)[:40]}, which is not known here")
    if config.get("bias", "none") not in ("none", "all", "lora_only"):
        reasons.append(f"{file}: bias is {str(config['bias'])[:40]}, not none, all or lora_only")
    for name in ("r", "lora_alpha"):
        value = config.get(name, 8)
        if not _is_number(value) or (name == "r" and type(value) is not int):
            reasons.append(f"{file}: {name} is {_shown(value)}, and no number above 0")
    for name in ("rank_pattern", "alpha_pattern"):
        reasons += _against_pattern(file, name, config.get(name) or {})
    saved = config.get("modules_to_save") or []
    if not isinstance(saved, list) or not all(isinstance(one, str) for one in saved):
        reasons.append(f"{file}: modules_to_save is no list of names")
    return reasons


def _shown(value: Any) -> str:
    """As JSON has it: a number in quotes is none."""
    return json.dumps(value)[:40]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e9


def _against_pattern(file: Path, name: str, pattern: Any) -> list[str]:
    """Patterns are regular expressions of a stranger's: only what ends soon is tried on a name."""
    if not isinstance(pattern, dict) or not all(_is_number(value) for value in pattern.values()):
        return [f"{file}: {name} is no mapping of names to numbers above 0"]
    reasons = []
    for key in pattern:
        try:
            re.compile(rf"(.*\.)?({key})$")
        except (re.error, RecursionError, OverflowError):
            reasons.append(f'{file}: {name} has "{key[:60]}", which is no pattern')
            continue
        quantifiers = len(re.findall(r"(?<!\\)[*+?{]", key))
        if len(key) > _LONGEST_PATTERN or quantifiers > _QUANTIFIERS or re.search(r"\)[*+?{]|\\\d", key):
            reasons.append(f'{file}: {name} has "{key[:60]}", which is more of a pattern than is tried here')
    return reasons


# What it changes ------------------------------------------------------------------------------------------------------


class Changes(Record):
    """What an adapter does to a base.

    Attributes:
        of: name of a tensor of the base to its change.
        pairs: how many products are added.
        notes: for people.
        head: of a base with one tensor for embeddings and head, where the adapter makes two of it: the name of the
            second, its values, and the first.
    """

    of: dict[str, Change]
    pairs: int
    notes: list[str]
    head: tuple[str, Entry, Entry] | None = None


def changes(adapter: Adapter, base: Mapping[str, Entry], model: Mapping[str, Any]) -> tuple[Changes, list[str]]:
    """What the adapter does to a base, and why it cannot.

    Args:
        base: its tensors by name.
        model: its ``config.json``.
    """
    match = _Match(adapter, base, model)
    match.all()
    match.untie()
    return Changes(match.found, match.pairs, match.notes, match.head), match.reasons()


class _Match:
    """Tensors of an adapter beside those of a base; what does not fit is kept."""

    def __init__(self, adapter: Adapter, base: Mapping[str, Entry], model: Mapping[str, Any]) -> None:
        self.adapter, self.config, self.base = adapter, adapter.config, base
        self.type, self.own_code = str(model.get("model_type")), "auto_map" in model
        self.file = adapter.folder / FILE
        self.found: dict[str, Change] = {}
        self.pairs = 0
        self.parted: dict[str, Entry] = {}  # of a tied base: what modules_to_save has for one of the two ends
        self.head: tuple[str, Entry, Entry] | None = None
        self.notes: list[str] = []
        self.wrong: dict[str, list[str]] = {}
        self.firsts = {name.partition(".")[0] for name in base}
        self.tied = None if any(f"{head}.weight" in base for head in _HEADS) else self.embeddings()

    def embeddings(self) -> str | None:
        found = [name for name in self.base if _EMBEDDINGS.fullmatch(name)]
        return found[0] if len(found) == 1 else None

    def reasons(self) -> list[str]:
        return [f"{self.file}: {what}: {_some(names)}" for what, names in self.wrong.items()]

    def refuse(self, what: str, name: str) -> None:
        self.wrong.setdefault(what, []).append(name)

    def all(self) -> None:
        halves: dict[str, dict[str, Entry]] = {}
        for name, entry in self.adapter.entries.items():
            if entry.dtype not in DTYPES:
                self.refuse("numbers of a kind that is not merged", f"{name} ({entry.dtype})")
            half = _HALF.fullmatch(name)
            if half is not None:
                halves.setdefault(half[1], {})[half[2]] = entry
            elif name.endswith((".lora_magnitude_vector", ".lora_magnitude_vector.weight")):
                self.refuse("DoRA, which is not merged here", name)
            else:
                self.whole(name, entry)
        for module in sorted(
            halves, key=lambda one: (one in _HEADS, one)
        ):  # PEFT merges the embeddings before the head
            self.low(module, halves[module])
        self.untouched(set(halves))

    def target(self, name: str) -> str | None:
        """The base's name of a tensor; None where it has none."""
        first, _, rest = name.partition(".")
        if name in self.base:
            return name
        if rest in self.base and first not in self.firsts:  # a base that was saved without its head
            return rest
        if self.tied is not None and name in [f"{head}.weight" for head in _HEADS]:
            return self.tied
        return None

    def whole(self, name: str, entry: Entry) -> None:
        """Values in place of the base's: modules_to_save, biases, and what an embedding was when it was saved."""
        module, _, part = name.rpartition(".")
        wrapped = module.endswith(".base_layer")
        module = module.removesuffix(".base_layer")
        target = self.target(f"{module}.{part}")
        saved = self.config.get("modules_to_save")
        saved = saved if isinstance(saved, list) else []
        parts = module.split(".")
        above = [".".join(parts[: count + 1]) for count in range(len(parts))]
        is_saved = any(one.endswith(str(name)) for one in above for name in saved)  # "norm" means input_layernorm, too
        is_bias = part == "bias" and self.config.get("bias", "none") != "none"
        is_embedding = target is not None and _EMBEDDINGS.fullmatch(target) or module.rpartition(".")[2] in _HEADS
        if not (is_saved or is_bias or wrapped or is_embedding):
            return self.refuse("a tensor that is neither of LoRA, nor of modules_to_save, nor a bias", name)
        if target is None:
            return self.refuse("the base has no tensor for", name)
        if self.base[target].shape != entry.shape:
            return self.refuse("another shape than the base", self.shapes(name, entry, target))
        if self.base[target].dtype not in DTYPES:
            return self.refuse("numbers in the base that are not floating point", target)
        if self.tied == target and is_saved and not wrapped:
            self.parted[name] = entry
            return None
        self.found[target] = self.found.get(target, Change())._replace(put=entry)
        return None

    def untie(self) -> None:
        """modules_to_save has values of its own for one end of a tied tensor, or for both: then there are two."""
        if not self.parted or self.tied is None:
            return
        if self.tied in self.found:
            return self.refuse("an embedding that is tied, is in modules_to_save, and is changed otherwise", self.tied)
        heads = [name for name in self.parted if name in [f"{head}.weight" for head in _HEADS]]
        head = heads[0] if heads else f"{_HEADS[0]}.weight"
        for name, entry in self.parted.items():
            if name not in heads:
                self.found[self.tied] = Change(put=entry)
        first = self.base[self.tied]
        self.head = head, self.parted.get(head, first), first
        self.notes.append(
            f"{self.tied} was the embedding and the head at once; the adapter has made two of it: {head} is new, and "
            "config.json says so (tie_word_embeddings)"
        )

    def low(self, module: str, halves: Mapping[str, Entry]) -> None:
        of_embedding = any("embedding" in half for half in halves)
        names = ("lora_embedding_A", "lora_embedding_B") if of_embedding else ("lora_A.weight", "lora_B.weight")
        if missing := [half for half in names if half not in halves]:
            return self.refuse("one matrix without the other", f"{module}.{missing[0]} is missing")
        if odd := [half for half in halves if half not in (*names, "lora_B.bias")]:
            return self.refuse("more than two matrices for one layer", f"{module}.{odd[0]}")
        target = self.target(f"{module}.weight")
        if target is None:
            return self.refuse("the base has no weight for", module)
        if self.base[target].dtype not in DTYPES:
            return self.refuse(
                "weights of the base that are not float64, float32, float16 or bfloat16",
                f"{target} ({self.base[target].dtype})",
            )
        a, b = (halves[name] for name in names)
        rank, alpha = self.number("rank_pattern", module, "r"), self.number("alpha_pattern", module, "lora_alpha")
        if not _is_number(rank) or not _is_number(alpha):
            return None  # which was told
        if len(a.shape) != 2 or len(b.shape) != 2 or len(self.base[target].shape) != 2:
            return self.refuse("only matrices are merged, no convolutions", self.shapes(module, a, target))
        if a.shape[0] != b.shape[1]:
            return self.refuse("two ranks in one pair", f"{module} ({list(a.shape)} and {list(b.shape)})")
        if a.shape[0] != rank:
            return self.refuse(f"another rank than {CONFIG} says", f"{module} ({a.shape[0]} for {rank})")
        kind = self.kind(module, (b.shape[0], a.shape[1]), self.base[target].shape, of_embedding)
        if kind is None:
            return self.refuse(
                "a shape that does not fit the base",
                f"{module} ({list(b.shape)} @ {list(a.shape)} for {target} {list(self.base[target].shape)})",
            )
        scaling = alpha / math.sqrt(rank) if self.config.get("use_rslora") else alpha / rank
        before = self.found.get(target, Change())
        self.found[target] = before._replace(pairs=(*before.pairs, Pair(kind, a, b, scaling)))
        self.pairs += 1
        if target == self.tied:
            note = f"{target} is the embedding and the head at once: both change, as they do with PEFT"
            self.notes += [note] if note not in self.notes else []
        if bias := halves.get("lora_B.bias"):
            self.bias(module, bias, scaling)

    def bias(self, module: str, entry: Entry, scaling: float) -> None:
        target = self.target(f"{module}.bias")
        if target is None:
            return self.refuse("the base has no bias for", module)
        if self.base[target].shape != entry.shape:
            return self.refuse("another shape than the base", self.shapes(f"{module}.lora_B.bias", entry, target))
        before = self.found.get(target, Change())
        self.found[target] = before._replace(bias=(*before.bias, (entry, scaling)))

    def kind(self, module: str, product: tuple[int, int], shape: Sequence[int], of_embedding: bool) -> Kind | None:
        """Which way round a product is added; None where it does not fit."""
        straight, turned = product == tuple(shape), product[::-1] == tuple(shape)
        if of_embedding:
            return "embedding" if turned else None
        if self.own_code:  # nobody knows its layers: PEFT was told
            turned_round = bool(self.config.get("fan_in_fan_out"))
        else:
            turned_round = self.type in TRANSPOSED and module.rpartition(".")[2] in _TRANSPOSED_LAYERS
        if turned_round:
            return "transposed" if turned else None
        return "linear" if straight else None

    def number(self, pattern: str, module: str, default: str) -> Any:
        found = self.config.get(pattern) or {}
        if _against_pattern(self.file, pattern, found):  # which was told; such a one is not tried
            found = {}
        key = next((key for key in found if re.match(rf"(.*\.)?({key})$", module)), None)
        return self.config.get(default, 8) if key is None else found[key]

    def untouched(self, modules: set[str]) -> None:
        """Layers that the configuration aims at and the file does not change: with PEFT they stay as they are, too."""
        aims = self.config.get("target_modules")
        if not isinstance(aims, list) or self.config.get("exclude_modules") or self.config.get("layers_to_transform"):
            return
        last = {str(one) for one in aims}
        touched = {self.target(f"{module}.weight") for module in modules}
        names = [
            name
            for name, entry in self.base.items()
            if len(entry.shape) == 2 and name.endswith(".weight") and name not in touched
            if any(name == f"{one}.weight" or name.endswith(f".{one}.weight") for one in last)
        ]
        if names:
            self.notes.append(
                f"{self.file} has no matrices for {counted(len(names), 'layer')} that {CONFIG} aims at, such as "
                f"{names[0]}: they stay as they are"
            )

    def shapes(self, name: str, entry: Entry, target: str) -> str:
        return f"{name} ({list(entry.shape)} for {list(self.base[target].shape)})"


def _some(names: Sequence[str]) -> str:
    shown = [name[:160] for name in names[:_LISTED]]
    more = len(names) - len(shown)
    return listed([*shown, *([f"{more} more"] if more else [])])

"""Objects -> settings: each with a name that says whose it is (``trainer.max_steps``), its value and its line.

What there is once in a run is called as NeMo's users call it: ``trainer``, ``strategy``, ``ddp``, ``model``,
``optim``, ``lr_scheduler``, ``data``, ``tokenizer``, ``peft``. Everything else (loggers, callbacks, plugins) is called
like its class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bridge_args.findings import CHANGES, Finding
from bridge_args.mapping.settings import Stated
from bridge_args.records import Record
from bridge_args.source.nemo2.defaults import Class, find
from bridge_args.source.nemo2.objects import Given, Made, Nemo2Problem, is_own, own_in
from bridge_args.values import Built, Member, Symbol

# What the name of an object begins with, by the class that it is made from.
_ROLES: Final = {
    "Trainer": "trainer",
    "MegatronStrategy": "strategy",
    "DistributedDataParallelConfig": "ddp",
    "MegatronMixedPrecision": "precision",
    "OptimizerConfig": "optim",
    "MegatronOptimizerModule": "optimizer",
    "LRSchedulerModule": "lr_scheduler",
    "LightningDataModule": "data",
    "PEFT": "peft",
    "TransformerConfig": "model",
}
_TOKENIZERS: Final = ("TokenizerSpec", "get_nmt_tokenizer")
_API: Final = ("pretrain", "finetune", "train")
_WHOLE: Final = ("TrainerContext", *_API)
# Fields that hold the parts of a run, and are no settings.
_PARTS: Final = frozenset(
    "model data trainer log resume optim config lr_scheduler strategy ddp plugins callbacks ckpt tensorboard wandb "
    "restore_config packed_sequence_specs extra_loggers logger model_transform tokenizer peft extra".split()
)
CLASS: Final = "_target_"
_OVERLAP: Final = "tp_comm_overlap_cfg"  # holds objects, which are one value


class Run(Record):
    """What a configuration states.

    Attributes:
        kind: ``pretrain``, ``finetune`` or ``train``; empty where only a model is described.
        model: the class of the model's configuration.
        model_name: the class of the model: ``LlamaModel``.
        data: the class of the data, where there are some.
        lines: all settings, in the file's order.
        defaults: setting to what NeMo has where the file does not state it.
        findings: what there is to tell of the file itself.
        usual: setting to what NeMo has, of those too that the file states.
        roles: what a name begins with to the class it is of: ``strategy`` to ``MegatronStrategy``.
    """

    kind: str
    model: Class
    model_name: str
    data: Class | None
    peft: Class | None
    lr_scheduler: Class | None
    lines: tuple[Stated, ...]
    defaults: Mapping[str, Any]
    findings: tuple[Finding, ...]
    roles: Mapping[str, str]
    usual: Mapping[str, Any]


def run_of(root: Made, name: str) -> Run:
    """The settings of a configuration.

    Raises:
        Nemo2Problem: it describes no model of NeMo's.
    """
    walk = _Walk(name)
    walk.visit(root, "")
    if walk.model is None:
        raise Nemo2Problem(
            f"{name} describes no model of NeMo 2.0 that is known: none of its classes is a configuration of one"
        )
    kind = root.name if root.name in _API else "train" if root.name == "TrainerContext" else ""
    lines = tuple(stated for stated in walk.lines.values())
    defaults = {key: value for key, value in walk.defaults.items() if key not in walk.lines}
    return Run(
        kind,
        walk.model,
        walk.model_name,
        walk.data,
        walk.peft,
        walk.lr_scheduler,
        lines,
        defaults,
        tuple(walk.findings),
        walk.roles,
        walk.defaults,
    )


class _Walk:
    """What was met so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[str, Stated] = {}
        self.defaults: dict[str, Any] = {}
        self.findings: list[Finding] = []
        self.roles: dict[str, str] = {}
        self.model: Class | None = None
        self.model_name = ""
        self.data: Class | None = None
        self.peft: Class | None = None
        self.lr_scheduler: Class | None = None

    def own(self, made: Made, field: str) -> None:
        """A class of the user's own, which may be any part of a run but its model."""
        if field in ("config", "model", ""):
            raise Nemo2Problem(
                f"{made.place}: {made.target} is of your own; what model it makes is not known without running it"
            )
        self.not_read(field, made.target, made)

    def not_read(self, setting: str, own: str, at: Given | Made) -> None:
        """A class of the user's own is named; nothing of it is imported, so nobody knows what it does."""
        message = (
            f"{setting} is {own}, of your own, and was not read. This changes {CHANGES['numbers']}, unless it does "
            "nothing that the training depends on."
        )
        remedy = "say in Bridge's own way what it does"
        found = Finding("no-equivalent", message, remedy, (setting,), at.place, changes="numbers")
        if all(str(found) != str(one) for one in self.findings):
            self.findings.append(found)

    def visit(self, made: Made, field: str) -> None:
        if is_own(made.target):
            self.own(made, field)
            return
        known = find(made.target)
        prefix = self.prefix(made, known, field)
        if prefix == "ModelCheckpoint":
            self.replaced(made)
        if prefix and prefix not in ("trainer", "strategy", "model", "model_class"):
            self.say(f"{prefix}.{CLASS}", made.target, f"{CLASS}: {made.target}", made)
        if known is not None and prefix and prefix != "model_class":
            self.roles[prefix] = made.name
            fields = {name: value for name, value in known.fields.items() if not self.is_part(name, prefix)}
            self.defaults |= {f"{prefix}.{name}": value for name, value in fields.items()}
            if prefix == "strategy":
                self.with_ddp(made)
        # The checkpoint of the log takes the place of one among the callbacks.
        for name in sorted(made.given, key=lambda name: name == "log"):
            self.field(made, known, prefix, name, made.given[name])

    def with_ddp(self, made: Made) -> None:
        """Without a configuration of its own DDP checks gradients: see MegatronStrategy.__init__."""
        config = find("megatron.core.distributed.distributed_data_parallel_config.DistributedDataParallelConfig")
        if config is not None and not isinstance(made.value("ddp"), Made):
            self.defaults |= {f"ddp.{name}": value for name, value in config.fields.items()}
            self.defaults["ddp.check_for_nan_in_grad"] = True
            self.roles["ddp"] = "MegatronStrategy"

    def prefix(self, made: Made, known: Class | None, field: str) -> str:
        if made.name in _WHOLE:
            return ""
        if field == "tokenizer" or (known and any(known.is_a(name) for name in _TOKENIZERS)):
            return "tokenizer"
        if field == "model" and "config" in made.given or (field == "" and "config" in made.given):
            self.model_name = made.name
            return "model_class"
        if known is not None and known.is_model:
            self.model = known
            return "model"
        if field == "config" and known is None:
            raise Nemo2Problem(
                f"{made.place}: {made.target} is no configuration of a model that NeMo {_nemo()} has; only its own are "
                "read"
            )
        for parent, role in _ROLES.items():
            if known is not None and known.is_a(parent) or made.name == parent:
                if role in ("data", "peft", "lr_scheduler"):
                    setattr(self, role, known)
                return role
        return made.name

    def is_part(self, name: str, prefix: str) -> bool:
        return name in _PARTS and prefix in ("trainer", "strategy", "NeMoLogger", "AutoResume", "optimizer", "data")

    def field(self, made: Made, known: Class | None, prefix: str, name: str, given: Given) -> None:
        value, setting = _member(given.value), f"{prefix}.{name}" if prefix and prefix != "model_class" else name
        parts = isinstance(value, Made) or isinstance(value, list) and any(isinstance(one, Made) for one in value)
        if own := next(own_in(value), "") if not parts or name == _OVERLAP else "":
            self.not_read(setting, own, given)
            return
        if made.complete and known is not None and name in known.fields and known.fields[name] == value:
            return  # a checkpoint keeps defaults too
        if isinstance(value, Made) and value.name == "timedelta":
            self.say(setting, _seconds(value), given.text, given)
        elif isinstance(value, Made) and value.target.startswith("megatron.core.") and not value.given:
            pass  # a member of an enum, of which NeMo-Run writes the class only
        elif isinstance(value, Made) and name == _OVERLAP:
            self.say(setting, _built(value), given.text, given)
        elif isinstance(value, Made):
            self.visit(value, name)
        elif isinstance(value, list) and any(isinstance(one, Made) for one in value):
            for one in value:
                if isinstance(one, Made):
                    self.visit(one, name)
        elif value is None and (name in _PARTS or not prefix):
            pass  # there is none
        elif isinstance(value, list) and not value and name in _PARTS:
            pass
        elif isinstance(value, dict) and not value:
            pass
        else:
            self.say(setting, _with_names(value), given.text, given)

    def say(self, setting: str, value: Any, text: str, at: Given | Made) -> None:
        self.lines.pop(setting, None)
        self.lines[setting] = Stated(setting, value, text, at.place)

    def replaced(self, made: Made) -> None:
        """See nemo_logger.py NeMoLogger._setup_trainer_model_checkpoint."""
        before = [name for name in self.lines if name.startswith("ModelCheckpoint.")]
        if before:
            place = self.lines[before[0]].place
            message = "the ModelCheckpoint of the callbacks is not used: NeMo takes that of the log in its place"
            self.findings.append(Finding("not-read", message, place=place))
            for name in before:
                del self.lines[name]


def _member(value: Any) -> Any:
    """A member of an enum, which is written as a call of its class with one number."""
    called = value.value("_args_") if isinstance(value, Made) and list(value.given) == ["_args_"] else None
    if isinstance(value, Made) and isinstance(called, list) and len(called) == 1 and not isinstance(called[0], Made):
        return Member(value.target, "", called[0])
    return value


def _built(made: Made) -> Built:
    return Built(made.target, {name: _built(given.value) if isinstance(given.value, Made) else given.value
                               for name, given in made.given.items()})  # fmt: skip


def _nemo() -> str:
    from bridge_args.source.nemo2.defaults import version

    return version()


def _seconds(made: Made) -> int | float | None:
    units = {"weeks": 604800, "days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}
    try:
        total: int | float = sum(units[name] * given.value for name, given in made.given.items())
        return total
    except (KeyError, TypeError):
        return None


def _with_names(value: Any) -> Any:
    """The value with a class by its name in place of an object that is none of a run's parts."""
    if isinstance(value, Made):
        return Symbol(value.target)
    if isinstance(value, list):
        return [_with_names(one) for one in value]
    if isinstance(value, dict):
        return {key: _with_names(one) for key, one in value.items()}
    return value


__all__ = ["CLASS", "Member", "Run", "run_of"]

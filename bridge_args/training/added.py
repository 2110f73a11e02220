"""What a start of ours adds to Bridge's training loop: what a run needs and no setting of Bridge says.

``of`` reads it from a translation, as plain values that go to other processes; ``to`` puts it on a configuration, and
``forward_step`` is the step to train with. Everything else is Bridge's. The findings of kind ``needs-drop-in`` tell
who takes the configuration alone; ``settled`` leaves them out where the run is started here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bridge_args import foreign
from bridge_args.emulation import placeholders
from bridge_args.megatron_lm.programs import GPT

if TYPE_CHECKING:
    from bridge_args.mapping.translation import Translation


@dataclass(frozen=True, slots=True)
class Added:
    """What is added; nothing by default.

    Attributes:
        loss_mask: the model is given the mask of the loss, for the losses of predicted tokens.
        core_weight_decay: Megatron Core's own rule says which parameters have weight decay.
        buckets: of gradients, into which the parameters of a rank are divided; None: as the configuration says.
        samples: of the whole run, where the configuration counts iterations; None: as the configuration says.
        batch_sizes: from how many samples on a step has how many (``0:4 8:8``), where Bridge's start-up hands it to
            nothing; None: as the configuration says.
        phases: lengths of phases of the schedule, in samples, by the names of Bridge's fields (``lr_decay_steps``).
    """

    loss_mask: bool = False
    core_weight_decay: bool = False
    buckets: int | None = None
    samples: int | None = None
    batch_sizes: str | None = None
    phases: Mapping[str, int] | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON; ``Added(**plain)`` is the same again."""
        return asdict(self)


def of(t: Translation) -> Added:
    """What the run of a translation needs beside its configuration."""
    if not t.program:
        return Added()
    args = t.args
    ramping = len(args["batch_size_steps"]) > 1 and bool(args["train_samples"])
    phases = {
        "lr_decay_steps": args["lr_decay_samples"] or args["train_samples"],
        "wd_incr_steps": args["train_samples"],
        "wsd_decay_steps": args["lr_wsd_decay_samples"],
        "lr_warmup_steps": None if args["lr_warmup_fraction"] is not None else args["lr_warmup_samples"],
    }
    return Added(
        loss_mask=bool(args["mtp_num_layers"]) and t.program == GPT,
        core_weight_decay=args.is_on("apply_wd_to_qk_layernorm"),
        buckets=args["ddp_num_buckets"],
        batch_sizes=next((one.value for one in t.assignments if one.path == "train.step_batch_size_schedule"), None),
        samples=args["train_samples"] if ramping else None,
        phases={name: samples for name, samples in phases.items() if samples is not None} if ramping else None,
    )


def settled(t: Translation) -> Translation:
    """The translation without what is told to those who take its configuration alone."""
    return t._replace(findings=tuple(finding for finding in t.findings if finding.kind != "needs-drop-in"))


def to(config: Any, added: Added) -> None:
    """Puts it on a ``ConfigContainer`` that is not yet validated.

    Only this object is changed, and nothing that Bridge writes of it; the number of samples is asked of a module.
    """
    _specification(config)
    if added.core_weight_decay:
        _core_weight_decay(config)
    if added.buckets is not None:
        _divide_into_buckets(config, added.buckets)
    if added.phases is not None:
        _phases(config, added.phases)
    if added.samples is not None:
        _samples(added.samples)
    if added.batch_sizes is not None:
        _batch_sizes(added.batch_sizes)


def forward_step(added: Added) -> Callable[..., Any]:
    """The forward step of GPT models, which Bridge uses for Mamba models as well.

    With ``loss_mask`` it is Bridge's own still, and the model it calls is given the mask that its ``get_batch`` has
    made, unless it hands it on itself.
    """
    with placeholders.absent_packages():
        get_batch, step = foreign.GET_BATCH.get(), foreign.FORWARD_STEP.get()
    if not added.loss_mask:
        return step  # type: ignore[no-any-return]  # looked up at run time
    mask: Any = None

    @functools.wraps(get_batch)
    def remembered(*words: Any, **named: Any) -> Any:
        nonlocal mask
        batch = get_batch(*words, **named)
        mask = batch[2]  # tokens, labels, loss mask
        return batch

    def handed(model: Any, words: Any, named: dict[str, Any]) -> Any:
        return words, named if mask is None else {"loss_mask": mask, **named}

    @functools.wraps(step)
    def with_mask(state: Any, data_iterator: Any, model: Any, return_schedule_plan: bool = False) -> Any:
        hook = model.register_forward_pre_hook(handed, with_kwargs=True)
        try:
            return step(state, data_iterator, model, return_schedule_plan)
        finally:
            hook.remove()

    foreign.GET_BATCH.put(remembered)
    return with_mask


def _specification(config: Any) -> None:
    """Bridge takes the specification of one layer, or a function that makes one; of a whole block only the function."""
    submodules = foreign.BLOCK_SUBMODULES.get()
    block = getattr(config.model, "transformer_layer_spec", None)
    if isinstance(block, submodules):
        config.model.transformer_layer_spec = lambda config: block


def _core_weight_decay(config: Any) -> None:
    """Verify: megatron/training/training.py setup_model_and_optimizer, which asks the same function."""
    standard = foreign.STANDARD_OVERRIDES.get()
    config.optimizer_config_override_provider.build_config_overrides = lambda context: standard(
        context.optimizer_config
    )


def _divide_into_buckets(config: Any, buckets: int) -> None:
    """Verify: megatron/training/training.py get_model."""

    def size(model: list[Any]) -> list[Any]:
        parameters = sum(parameter.nelement() for chunk in model for parameter in chunk.parameters())
        config.ddp.bucket_size = parameters // buckets
        return model

    config.model.register_pre_wrap_hook(size)


def _phases(config: Any, phases: Mapping[str, int]) -> None:
    """Lengths that are no whole number of steps, where Bridge multiplies steps by the batch size.

    Verify: megatron/training/training.py get_optimizer_param_scheduler.
    """
    calculate = config._calculate_scheduler_steps

    def calculated() -> None:
        calculate()
        for name, samples in phases.items():
            setattr(config.scheduler, name, samples)

    config._calculate_scheduler_steps = calculated


def _samples(samples: int) -> None:
    """The data set is made for so many training samples. Verify: training.py get_train_valid_test_num_samples."""
    with placeholders.absent_packages():
        asked = foreign.NUMBERS_OF_SAMPLES.get()

    @functools.wraps(asked)
    def numbers(*words: Any, **named: Any) -> Any:
        _, *others = asked(*words, **named)
        return (samples, *others)

    foreign.NUMBERS_OF_SAMPLES.put(numbers)


def _batch_sizes(steps: str) -> None:
    """The steps that Bridge's start-up leaves out. Verify: megatron/training/global_vars.py set_global_variables."""

    def wrap(begin: Any) -> Any:
        @functools.wraps(begin)
        def with_steps(*words: Any, **named: Any) -> Any:
            return begin(*words, step_batch_size_schedule=steps, **named)

        return with_steps

    with placeholders.absent_packages():
        foreign.BATCH_SIZES.hook(wrap)

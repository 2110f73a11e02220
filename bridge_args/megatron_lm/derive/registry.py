"""Derived values: one function per value, one module per area.

A derivation is a plain function. Its name is the argument it sets, its parameters are the arguments it reads
(its own name, if it reads what was typed or the default), and beside arguments ``given`` (typed name -> value as
typed), ``world_size``, ``env`` and ``program``. Arguments that a Megatron-LM version does not have are None.

``derives`` marks a value of an argument; the function is passed over where a version lacks the argument.
``computes`` marks a value that Megatron-LM keeps under a name of its own, such as ``data_parallel_size``.
Where Megatron-LM would stop for want of the value, the function raises ``Invalid``.

A check has no value: it yields an ``Invalid`` for each thing that Megatron-LM stops at. Checks assume what the own
containers of Megatron-LM have: H100 GPUs, Transformer Engine 2.10, PyTorch 2.7.

Each says on what it rests:

``see``
    where Megatron-LM does it, ``file::function`` or ``file::Class.method``, several as a tuple. A file is named from
    the root of a checkout. ``bridge_args/megatron_lm/authority.json`` has what those functions were when they were read
    (``python -m bridge_args.dev authority``).
``when``
    a condition on the Megatron-LM version, such as ``>=0.15``: the versions for which the function is used. Its lower
    bound is the version that brought the rule.
``until``
    the first version that has the rule no more, because somebody looked there. An upper bound in ``when`` says less:
    from that version on Megatron-LM may do it in another way.
``read``
    the series of versions whose source was read for the function; where it is not given, those in which all that it
    rests on was read whole. ``unread`` has the functions that nobody has compared with a version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from bridge_args.records import Record
from bridge_args.versions import Versions, holds, number

Function = Callable[..., Any]

# What a derivation may read beside arguments.
CONTEXT: Final = ("given", "world_size", "env", "program")

# Where Megatron-LM settles and refuses most.
VALIDATE_ARGS: Final = "megatron/training/arguments.py::validate_args"
CORE_CONFIG: Final = "megatron/training/arguments.py::core_transformer_config_from_args"
TRANSFORMER_CONFIG: Final = "megatron/core/transformer/transformer_config.py::TransformerConfig.__post_init__"
PARALLEL_STATE: Final = "megatron/core/parallel_state.py::initialize_model_parallel"
SCHEDULER: Final = "megatron/core/optimizer_param_scheduler.py::OptimizerParamScheduler.__init__"

# The series that was read for all functions which do not say otherwise.
READ: Final = ("0.16",)

# Functions that stand in another file in later versions.
LATER_HOMES: Final = {
    # 0.18
    CORE_CONFIG: "megatron/training/argument_utils.py::core_transformer_config_from_args",
    "megatron/training/utils.py::update_use_dist_ckpt": "megatron/training/utils/common_utils.py::update_use_dist_ckpt",
    # 0.17
    **{
        f"megatron/training/tokenizer/tokenizer.py::{old}": f"megatron/core/tokenizers/utils/build_tokenizer.py::{new}"
        for old, new in (
            ("build_tokenizer", "build_tokenizer"),
            ("_vocab_size_with_padding", "vocab_size_with_padding"),
        )
    },
}

_SINCE_16: Final = ("0.16", "0.17", "0.18", "0.19", "0.20")

# What was read whole in more series, and each of our functions that rests on it compared with it.
READ_WHOLE: Final = dict.fromkeys(
    (
        VALIDATE_ARGS,
        CORE_CONFIG,
        TRANSFORMER_CONFIG,
        PARALLEL_STATE,
        SCHEDULER,
        "gpt_builders.py::gpt_builder",
        "megatron/core/datasets/blended_megatron_dataset_builder.py::BlendedMegatronDatasetBuilder._build_blended_dataset_splits",
        "megatron/core/datasets/blended_megatron_dataset_config.py::BlendedMegatronDatasetConfig.__post_init__",
        "megatron/core/datasets/indexed_dataset.py::IndexedDataset.initialize",
        "megatron/core/datasets/utils.py::get_blend_from_list",
        "megatron/core/distributed/distributed_data_parallel.py::DistributedDataParallel.__init__",
        "megatron/core/distributed/distributed_data_parallel_config.py::DistributedDataParallelConfig.__post_init__",
        "megatron/core/distributed/param_and_grad_buffer.py::_ParamAndGradBucketGroup.__init__",
        "megatron/core/extensions/transformer_engine.py::TEDotProductAttention.__init__",
        "megatron/core/fusions/fused_bias_swiglu.py::weighted_bias_swiglu_impl",
        "megatron/core/model_parallel_config.py::ModelParallelConfig.__post_init__",
        "megatron/core/models/common/embeddings/language_model_embedding.py::LanguageModelEmbedding.__init__",
        "megatron/core/models/common/embeddings/rope_utils.py::_apply_rotary_pos_emb_bshd",
        "megatron/core/models/common/embeddings/rotary_pos_embedding.py::MultimodalRotaryEmbedding.forward",
        "megatron/core/models/common/language_module/language_module.py::LanguageModule._set_attention_backend",
        "megatron/core/models/gpt/experimental_attention_variant_module_specs.py::_get_backend_spec_provider",
        "megatron/core/models/gpt/experimental_attention_variant_module_specs.py::get_experimental_attention_variant_module_spec",
        "megatron/core/models/gpt/gpt_layer_specs.py::get_gpt_decoder_layer_specs",
        "megatron/core/models/gpt/gpt_layer_specs.py::get_gpt_layer_local_spec",
        "megatron/core/models/gpt/gpt_layer_specs.py::get_gpt_layer_with_transformer_engine_spec",
        "megatron/core/num_microbatches_calculator.py::ConstantNumMicroBatchesCalculator.__init__",
        "megatron/core/optimizer/clip_grads.py::clip_grad_by_total_norm_fp32",
        "megatron/core/optimizer/distrib_optimizer.py::DistributedOptimizer.__init__",
        "megatron/core/optimizer/grad_scaler.py::DynamicGradScaler.__init__",
        "megatron/core/optimizer/grad_scaler.py::MegatronGradScaler.__init__",
        "megatron/core/optimizer/optimizer_config.py::OptimizerConfig.__post_init__",
        "megatron/core/optimizer/qk_clip.py::clip_qk",
        "megatron/core/parallel_state.py::create_group",
        "megatron/core/pipeline_parallel/schedules.py::forward_backward_pipelining_with_interleaving",
        "megatron/core/ssm/mamba_context_parallel.py::MambaContextParallel.__init__",
        "megatron/core/ssm/mamba_mixer.py::MambaMixer.__init__",
        "megatron/core/tensor_parallel/layers.py::_initialize_affine_weight_gpu",
        "megatron/core/tensor_parallel/mappings.py::_reduce_scatter_along_first_dim",
        "megatron/core/transformer/attention.py::SelfAttention.get_query_key_value_tensors",
        "megatron/core/transformer/dot_product_attention.py::DotProductAttention.__init__",
        "megatron/core/transformer/mlp.py::MLP.forward",
        "megatron/core/transformer/moe/experts.py::SequentialMLP.forward",
        "megatron/core/transformer/moe/experts.py::TEGroupedMLP.__init__",
        "megatron/core/transformer/moe/experts.py::TEGroupedMLP.forward",
        "megatron/core/transformer/moe/moe_layer.py::MoELayer.forward",
        "megatron/core/transformer/moe/moe_layer.py::MoELayer.preprocess",
        "megatron/core/transformer/moe/moe_utils.py::group_limited_topk",
        "megatron/core/transformer/moe/moe_utils.py::topk_routing_with_score_function",
        "megatron/core/transformer/moe/router.py::TopKRouter.sinkhorn_load_balancing",
        "megatron/core/transformer/moe/shared_experts.py::SharedExpertMLP.__init__",
        "megatron/core/transformer/moe/token_dispatcher.py::MoEFlexTokenDispatcher.__init__",
        "megatron/core/transformer/multi_latent_attention.py::MultiLatentAttention.forward",
        "megatron/core/transformer/multi_token_prediction.py::MultiTokenPredictionLayer._checkpointed_forward",
        "megatron/core/transformer/pipeline_parallel_layer_layout.py::PipelineParallelLayerLayout.validate_layer_layout",
        "megatron/core/transformer/spec_utils.py::import_module",
        "megatron/core/transformer/torch_norm.py::WrappedTorchNorm.__new__",
        "megatron/core/transformer/transformer_block.py::get_num_layers_to_build",
        "megatron/core/transformer/transformer_config.py::MLATransformerConfig.__post_init__",
        "megatron/core/utils.py::divide",
        "megatron/training/arguments.py::_add_inprocess_restart_args",
        "megatron/training/arguments.py::validate_model_config_args_from_heterogeneous_config",
        "megatron/training/global_vars.py::_set_wandb_writer",
        "megatron/training/initialize.py::_set_random_seed",
        "megatron/training/training.py::get_optimizer_param_scheduler",
        "megatron/training/training.py::get_train_valid_test_num_samples",
        "megatron/training/utils.py::update_use_dist_ckpt",
    ),
    _SINCE_16,
)

See = str | tuple[str, ...]


class Invalid(Exception):
    """Megatron-LM would stop here.

    Args:
        message: what is wrong, with the numbers.
        remedy: what to write instead; with ``export`` that is what it says.
        arguments: the arguments concerned; all that the function reads, where empty.
        variable: the environment variable that is missing. Where the run's environment is not known in full, the
            user is told so, and it is no error.
        stops: False where it depends on the machine whether Megatron-LM stops; the user is told, and it is no error.
        late: Megatron-LM accepts the arguments and stops when it sets up, or at the first step; a warning.
        export: the variable with a value with which it does not stop: ``NCCL_ALGO=Ring``.
    """

    def __init__(
        self,
        message: str,
        remedy: str = "",
        arguments: tuple[str, ...] = (),
        *,
        variable: str = "",
        stops: bool = True,
        late: bool = False,
        export: str = "",
    ) -> None:
        super().__init__(message)
        self.remedy = remedy or (f"export {export}" if export else "")
        self.export = export
        self.arguments = arguments
        self.variable = variable
        self.stops = stops
        self.late = late


Problems = Iterator[Invalid]


def later(
    message: str, remedy: str, arguments: tuple[str, ...], see: str, *, variable: str = "", export: str = ""
) -> Invalid:
    """What Megatron-LM's ``validate_args`` lets pass, and Megatron Core stops at when it builds or first runs.

    Args:
        see: file below ``megatron/core`` and function that stops, with which the message ends.
    """
    return Invalid(f"{message} (megatron/core/{see})", remedy, arguments, variable=variable, late=True, export=export)


class Authority(Record):
    """On what a function here rests; the words are those of the module's text."""

    see: tuple[str, ...]
    when: str = ""
    until: str = ""
    read: tuple[str, ...] = READ

    def holds(self, version: str) -> bool:
        """Is the function used for a Megatron-LM version?"""
        return not self.is_gone(version) and _meets(self.when, version)

    def is_gone(self, version: str) -> bool:
        """Is it known that this version has the rule no more?"""
        return bool(self.until) and number(version) >= number(self.until)

    def is_before(self, version: str) -> bool:
        """Is the version older than the rule?"""
        return not all(_meets(bound, version) for bound in self.when.split(",") if bound.lstrip().startswith(">"))

    def was_read(self, version: str) -> bool:
        """Was the source of this version, or of another of its series, read for the function?"""
        return ".".join(map(str, (*number(version), 0)[:2])) in self.read

    def is_unread(self, version: str) -> bool:
        """Has nobody compared the function with this version, which may have the rule?"""
        return not (self.was_read(version) or self.is_gone(version) or self.is_before(version))


def _meets(when: str, version: str) -> bool:
    return not when.strip() or holds(f"megatron {when.strip()}", Versions(version, "0"))


class _Step:
    __slots__ = ("authority", "function", "name", "reads")

    def __init__(self, function: Function, authority: Authority, name: str = "") -> None:
        self.name = name or function.__name__
        self.reads = _parameters(function)
        self.function = function
        self.authority = authority

    def holds(self, version: str) -> bool:
        """Does this hold for a Megatron-LM version?"""
        return self.authority.holds(version)

    @property
    def see(self) -> tuple[str, ...]:
        """Where Megatron-LM does it, for people: ``megatron/training/arguments.py validate_args``."""
        return tuple(see.replace("::", " ") for see in self.authority.see)

    @property
    def place(self) -> str:
        """Our function, from the folder of this package: ``derive/attention.py kv_channels``."""
        return f"derive/{self.function.__module__.rpartition('.')[2]}.py {self.function.__name__}"


class Derivation(_Step):
    """Computes one value; ``argument`` tells whether it is an argument's, or one under a name of its own."""

    __slots__ = ("argument", "sets")

    def __init__(self, function: Function, authority: Authority, argument: bool, name: str) -> None:
        super().__init__(function, authority, name)
        self.argument = argument
        self.sets: tuple[str, ...] = (self.name,)


class Check(_Step):
    """Yields what Megatron-LM refuses."""

    __slots__ = ()
    sets: tuple[str, ...] = ()


Step = Derivation | Check
REGISTERED: Final[list[Step]] = []


def unread(version: str) -> tuple[Step, ...]:
    """What nobody has compared with the source of a Megatron-LM version, in the order of our modules.

    Neither what is known to be gone there is among it, nor what only came later. Whether a function is used for the
    version is another question: some are, unread, because most rules stay.
    """
    return tuple(step for step in REGISTERED if step.authority.is_unread(version))


def _parameters(function: Function) -> tuple[str, ...]:
    code = function.__code__
    return code.co_varnames[: code.co_argcount]


def _authority(when: str, see: See, until: str, read: tuple[str, ...]) -> Authority:
    sees = (see,) if isinstance(see, str) else see
    whole = [READ_WHOLE.get(one, READ) for one in sees]
    return Authority(
        sees, when, until, read or tuple(series for series in whole[0] if all(series in one for one in whole))
    )


def derives(
    when: str = "", *, see: See, until: str = "", read: tuple[str, ...] = (), name: str = ""
) -> Callable[[Function], Function]:
    """Registers an argument's derivation; the module's text says what the words mean."""

    def register(function: Function) -> Function:
        REGISTERED.append(Derivation(function, _authority(when, see, until, read), True, name))
        return function

    return register


def computes(
    when: str = "", *, see: See, until: str = "", read: tuple[str, ...] = (), name: str = ""
) -> Callable[[Function], Function]:
    """Registers a value that is no argument."""

    def register(function: Function) -> Function:
        REGISTERED.append(Derivation(function, _authority(when, see, until, read), False, name))
        return function

    return register


def checks(
    when: str = "", *, see: See, until: str = "", read: tuple[str, ...] = ()
) -> Callable[[Callable[..., Problems]], Callable[..., Problems]]:
    """Registers a check."""

    def register(function: Callable[..., Problems]) -> Callable[..., Problems]:
        REGISTERED.append(Check(function, _authority(when, see, until, read)))
        return function

    return register


def flag(name: str) -> str:
    """An argument's name as most users type it: ``--num-layers`` for ``num_layers``."""
    return "--" + name.replace("_", "-")

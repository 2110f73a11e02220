"""Data sets, their splits, and reading them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bridge_args.megatron_lm.derive.registry import (
    VALIDATE_ARGS,
    Invalid,
    Problems,
    checks,
    computes,
    derives,
    flag,
    later,
)


@derives(see=VALIDATE_ARGS)
def split(split: str | None, data_path: list[str] | None) -> str | None:
    """Shares of training, validation and test; an old default with --data-path."""
    return "969, 30, 1" if split is None and data_path is not None else split


@derives(see=VALIDATE_ARGS)
def dataloader_type(dataloader_type: str | None) -> str:
    """In order by default."""
    return "single" if dataloader_type is None else dataloader_type


@derives(">=0.19", see=VALIDATE_ARGS)
def create_attention_mask_in_dataloader(
    create_attention_mask_in_dataloader: bool, dataloader_inter_document_masking: bool
) -> bool:
    """Off where the lengths of documents say what a mask would."""
    return create_attention_mask_in_dataloader and not dataloader_inter_document_masking


@derives(see=VALIDATE_ARGS)
def phase_transition_iterations(phase_transition_iterations: str | None) -> list[int] | str | None:
    """Iterations at which a new phase begins, in order."""
    if not phase_transition_iterations:
        return phase_transition_iterations
    try:
        return sorted(int(word) for word in phase_transition_iterations.split(","))
    except ValueError:
        raise Invalid(
            f"--phase-transition-iterations expects whole numbers with commas, not {phase_transition_iterations!r}"
        ) from None


@derives(see=VALIDATE_ARGS)
def tokenizer_special_tokens(
    tokenizer_special_tokens: list[str] | None, tiktoken_special_tokens: list[str] | None
) -> list[str] | None:
    """The old --tiktoken-special-tokens means the same."""
    return tokenizer_special_tokens or tiktoken_special_tokens or tokenizer_special_tokens


@computes(see=VALIDATE_ARGS)
def variable_seq_lengths() -> bool:
    """pretrain_gpt.py pads all sequences to one length."""
    return False


@checks(
    see=(
        VALIDATE_ARGS,
        "megatron/core/datasets/blended_megatron_dataset_config.py::BlendedMegatronDatasetConfig.__post_init__",
    )
)
def sources(
    mock_data: bool | None,
    data_path: list[str] | None,
    data_args_path: str | None,
    train_data_path: list[str] | None,
    valid_data_path: list[str] | None,
    test_data_path: list[str] | None,
    per_split_data_args_path: str | None,
    split: str | None,
) -> Problems:
    """One source of data."""
    per_split = {
        "train_data_path": train_data_path,
        "valid_data_path": valid_data_path,
        "test_data_path": test_data_path,
    }
    named = [name for name, value in per_split.items() if value]
    used = [name for name, on in (("mock_data", mock_data), ("data_path", data_path)) if on] + named[:1]
    if len(used) > 1:
        yield Invalid(f"{' and '.join(map(flag, used))} are different sources of data", "keep one of them", tuple(used))
    for files, name, paths in (
        ("data_args_path", "data_path", data_path if data_args_path is not None else None),
        ("per_split_data_args_path", "train_data_path", named if per_split_data_args_path is not None else None),
    ):
        if paths:
            yield Invalid(f"{flag(files)} names a file with what {flag(name)} says", "keep one of them", (files, name))
    whole = data_path is not None or data_args_path is not None
    if split is not None and not whole and (named or per_split_data_args_path is not None):
        yield Invalid(
            f"--split {split} has no meaning where each split has data of its own", "leave it out", ("split",)
        )
    elif split is not None and len(re.findall(r"[.0-9]+", split)) > 3:
        yield Invalid(f"--split {split} has more than three shares", "give training, validation, test", ("split",))
    elif split is None and data_args_path is not None:
        yield Invalid("--data-args-path needs --split", arguments=("data_args_path",))


@checks(
    see=(
        VALIDATE_ARGS,
        "megatron/core/datasets/blended_megatron_dataset_config.py::BlendedMegatronDatasetConfig.__post_init__",
    )
)
def reading(
    num_dataset_builder_threads: int | None,
    data_cache_path: str | None,
    dataloader_fast_cache_load: bool | None,
    dataloader_defer_npy_index_mmap: bool | None,
    data_path: list[str] | None,
    data_args_path: str | None,
) -> Problems:
    """Threads and caches."""
    if num_dataset_builder_threads is not None and num_dataset_builder_threads < 1:
        yield Invalid(
            f"--num-dataset-builder-threads must be at least 1, not {num_dataset_builder_threads}",
            arguments=("num_dataset_builder_threads",),
        )
    for name, on in (
        ("dataloader_fast_cache_load", dataloader_fast_cache_load),
        ("dataloader_defer_npy_index_mmap", dataloader_defer_npy_index_mmap),
    ):
        if on and data_cache_path is None:
            yield Invalid(f"{flag(name)} needs --data-cache-path", arguments=(name,))
    if dataloader_fast_cache_load and (data_path is not None or data_args_path is not None):
        yield Invalid(
            "--dataloader-fast-cache-load does not work with --data-path",
            "use --train-data-path, --valid-data-path and --test-data-path",
            ("dataloader_fast_cache_load", "data_path"),
        )


@checks(see=VALIDATE_ARGS)
def filling_in_the_middle(
    fim_data: bool | None,
    mock_data: bool | None,
    legacy_tokenizer: bool | None,
    fim_rate: float | None,
    fim_spm_rate: float | None,
    fim_prefix_token: str | None,
    fim_middle_token: str | None,
    fim_suffix_token: str | None,
    fim_pad_token: str | None,
    fim_eod_token: str | None,
) -> Problems:
    """What fill-in-the-middle data needs."""
    if not fim_data:
        return
    for name, excluded in (("mock_data", mock_data), ("legacy_tokenizer", legacy_tokenizer)):
        if excluded:
            yield Invalid(f"--fim-data does not work with {flag(name)}", arguments=("fim_data", name))
    needed = {
        "fim_rate": bool(fim_rate),
        "fim_spm_rate": bool(fim_spm_rate),
        "fim_prefix_token": fim_prefix_token is not None,
        "fim_middle_token": fim_middle_token is not None,
        "fim_suffix_token": fim_suffix_token is not None,
        "fim_pad_token": fim_pad_token is not None,
        "fim_eod_token": fim_eod_token is not None,
    }
    missing = [flag(name) for name, there in needed.items() if not there]
    if missing:
        yield Invalid(f"--fim-data needs {', '.join(missing)}", arguments=("fim_data",))


@checks(see=VALIDATE_ARGS, until="0.18", read=("0.16", "0.17", "0.18"))
def phases(phase_transition_iterations: list[int] | None, rampup_batch_size: list[int] | None) -> Problems:
    """Phases are counted in steps of one size."""
    if phase_transition_iterations and rampup_batch_size is not None:
        yield Invalid("--phase-transition-iterations does not work with --rampup-batch-size")


@checks(see="megatron/training/training.py::get_train_valid_test_num_samples")
def length_of_phases(phase_transition_iterations: list[int] | None, train_samples: int | None) -> Problems:
    """The last phase ends with the samples."""
    if phase_transition_iterations and not train_samples:
        yield Invalid(
            "--phase-transition-iterations needs the length of training in samples",
            "use --train-samples",
            ("phase_transition_iterations",),
        )


@checks(
    ">=0.19",
    see=(
        "megatron/training/determinism.py::apply_determinism_to_args",
        "megatron/training/determinism.py::apply_determinism_env",
    ),
    read=("0.19", "0.20"),
)
def determinism_of_kernels(
    deterministic_mode: bool | None,
    cross_entropy_loss_fusion: bool | None,
    tp_comm_overlap: bool | None,
    env: Mapping[str, str],
) -> Problems:
    """What gives other results each time; variables that are not set get the right values."""
    if not deterministic_mode:
        return
    for name, on in (
        ("cross_entropy_loss_fusion", cross_entropy_loss_fusion),
        ("tp_comm_overlap", tp_comm_overlap),
    ):
        if on:
            yield Invalid(f"--deterministic-mode does not work with {flag(name)}", "", ("deterministic_mode", name))
    for variable, accepted in _DETERMINISTIC_VARIABLES.items():
        words = [word.strip() for word in env.get(variable, accepted[0]).split(",")]
        if not set(words) <= set(accepted):
            yield Invalid(
                f"--deterministic-mode does not work with {variable}={env[variable]}",
                "",
                ("deterministic_mode",),
                export=f"{variable}={accepted[0]}",
            )


_DETERMINISTIC_VARIABLES = {
    "NCCL_ALGO": ("Ring", "CollnetDirect", "CollnetChain", "^NVLS"),
    "NVTE_ALLOW_NONDETERMINISTIC_ALGO": ("0",),
    "CUBLAS_WORKSPACE_CONFIG": (":4096:8", ":16:8"),
}


@checks(see=VALIDATE_ARGS, until="0.19", read=("0.16", "0.17", "0.18", "0.19"))
def determinism(
    deterministic_mode: bool | None,
    use_flash_attn: bool | None,
    cross_entropy_loss_fusion: bool | None,
    env: Mapping[str, str],
) -> Problems:
    """What gives other results each time."""
    if not deterministic_mode:
        return
    for name, on in (
        ("use_flash_attn", use_flash_attn),
        ("cross_entropy_loss_fusion", cross_entropy_loss_fusion),
    ):
        if on:
            yield Invalid(f"--deterministic-mode does not work with {flag(name)}", "", ("deterministic_mode", name))
    algorithm = env.get("NCCL_ALGO")
    if algorithm not in _DETERMINISTIC:
        yield Invalid(
            "--deterministic-mode requires NCCL_ALGO in the environment to be one of "
            f"{', '.join(_DETERMINISTIC)}" + (f", not {algorithm}" if algorithm else ""),
            "",
            ("deterministic_mode",),
            variable="" if algorithm else "NCCL_ALGO",
            export="NCCL_ALGO=Ring",
        )


_DETERMINISTIC = ("Tree", "Ring", "CollnetDirect", "CollnetChain", "^NVLS")


@checks(see="megatron/training/global_vars.py::_set_wandb_writer")
def weights_and_biases(wandb_project: str | None, wandb_exp_name: str | None) -> Problems:
    """A run in a project has a name."""
    if wandb_project and wandb_exp_name == "":
        yield Invalid("--wandb-project needs --wandb-exp-name", arguments=("wandb_project",))


@checks(
    see=(
        "megatron/core/datasets/utils.py::get_blend_from_list",
        "megatron/core/datasets/indexed_dataset.py::IndexedDataset.initialize",
    )
)
def weights_in_a_path(
    data_path: list[str] | None,
    train_data_path: list[str] | None,
    valid_data_path: list[str] | None,
    test_data_path: list[str] | None,
) -> Problems:
    """Weights and paths in one word are one path, and no file has such a name."""
    named = {
        "data_path": data_path,
        "train_data_path": train_data_path,
        "valid_data_path": valid_data_path,
        "test_data_path": test_data_path,
    }
    for name, words in named.items():
        for word in words or ():
            parts = word.split()
            if len(parts) > 1 and all(map(_is_number, parts[::2])):
                yield later(
                    f'{flag(name)} takes "{word}", which is one word, for one path, and finds no such file',
                    "write every weight and every path as a word of its own, without quotes around all of them",
                    (name,),
                    "datasets/indexed_dataset.py IndexedDataset.initialize",
                )


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d*\.?\d+(e-?\d+)?", text) is not None


@checks(
    see="megatron/core/datasets/blended_megatron_dataset_builder.py::BlendedMegatronDatasetBuilder._build_blended_dataset_splits"
)
def tokens_to_train_on(
    mock_data: bool | None,
    data_path: list[str] | None,
    data_args_path: str | None,
    train_data_path: list[str] | None,
    valid_data_path: list[str] | None,
    test_data_path: list[str] | None,
    per_split_data_args_path: str | None,
    sft: bool | None,
    perform_rl_step: bool | None,
) -> Problems:
    """Made-up data has to be asked for."""
    named = (data_path, data_args_path, train_data_path, valid_data_path, test_data_path, per_split_data_args_path)
    if not any((mock_data, sft, perform_rl_step, *named)):
        yield Invalid(
            "without data Megatron-LM stops before the first step; Bridge trains on mock data",
            "name the data with --data-path, or ask for mock data with --mock-data",
            ("data_path",),
            late=True,
        )

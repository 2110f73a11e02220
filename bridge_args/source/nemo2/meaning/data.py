"""The data, and the adapters that are trained on them."""

from __future__ import annotations

from typing import Any, Final

from bridge_args.bridge.names import name_of
from bridge_args.findings import Finding
from bridge_args.source.nemo2.meaning.state import Meaning, whole
from bridge_args.values import Built, Symbol


def data(m: Meaning) -> None:
    """See nemo/collections/llm/gpt/data."""
    length = m["data.seq_length"] if whole(m["data.seq_length"]) else m["model.seq_length"]
    m.derive("seq_length", length, "data.seq_length")
    if m.run.data is not None and whole(m["model.seq_length"]) and length != m["model.seq_length"]:
        if m["model.position_embedding_type"] == "learned_absolute":
            message = (
                f"the model learns {m['model.seq_length']} positions in NeMo, and {length}, one a token of a sequence, "
                "in Bridge"
            )
            m.findings.append(Finding("no-equivalent", message, arguments=("model.seq_length",), changes="numbers"))
    for name in ("rampup_batch_size",):
        if m[f"data.{name}"] is None:
            m.defaults.pop(f"data.{name}", None)
    data = m.run.data
    if data is None:
        if m.run.kind:
            message = "it says nothing of the data that the run has"
            m.tell(
                "stops-later", "data", message, "set train.micro_batch_size, train.global_batch_size and the dataset"
            )
        _of_gpt(m)
    elif data.is_a("PreTrainingDataModule"):
        _pretraining(m)
    elif data.is_a("FineTuningDataModule"):
        _fine_tuning(m, data.name.rpartition(".")[2])
    elif data.is_a("MockDataModule"):
        _of_gpt(m)
    else:
        _of_gpt(m)
        m.lost(
            "data._target_",
            f"Bridge has no data like NeMo's {data.name.rpartition('.')[2]}; made-up data stand for them.",
        )


def _of_gpt(m: Meaning) -> None:
    m.derive("dataset_class", m.schema.sections["dataset"].classes[0], "data._target_")
    m.derive("random_seed", m["data.seed"] if whole(m["data.seed"]) else 1234, "data.seed")
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


def _fine_tuning(m: Meaning, name: str) -> None:
    """See nemo/collections/llm/gpt/data/fine_tuning.py: training.jsonl, validation.jsonl and test.jsonl in a folder."""
    classes = m.schema.sections["dataset"].classes
    by_name = {one.rpartition(".")[2]: one for one in classes}
    root = m["data.dataset_root"]
    prepared = _PREPARED.get(name)
    newer = "GPTSFTDatasetConfig" in by_name
    if newer:
        m.derive("dataset_class", by_name["GPTSFTDatasetConfig"], "data._target_")
        m.derive("preprocessing", _preprocessing(m), "data.dataset_kwargs", "data._target_")
    elif prepared:
        m.derive("dataset_class", by_name["HFDatasetConfig"], "data._target_")
    else:
        m.derive("dataset_class", by_name["FinetuningDatasetConfig"], "data._target_")
    m.derive("finetuning_seed", m["data.seed"] if whole(m["data.seed"]) else 1234, "data.seed")
    m.derive("memmap_workers", m["data.memmap_workers"], "data.memmap_workers")
    if prepared and newer:
        source = name_of("data of Hugging Face", m.bridge)
        m.derive("hf_dataset", Built(source, {"dataset_name": prepared}), "data._target_")
        m.derive("hf_test_dataset", Built(source, {"dataset_name": prepared, "split": "validation"}), "data._target_")
        m.derive("val_proportion", 0.05, "data._target_")
        if root is not None:
            m.derive("hf_output_root", str(root), "data.dataset_root")
    elif prepared:
        m.derive("dataset_name", prepared, "data._target_")
        m.derive(
            "process_example_fn",
            Symbol(name_of("answers of SQuAD", m.bridge)),
            "data._target_",
        )
        m.derive("val_proportion", 0.05, "data._target_")
        if "data.delete_raw" in m:
            m.derive("delete_raw", bool(m["data.delete_raw"]), "data.delete_raw")
    if root is not None and not (prepared and newer):
        m.derive("dataset_root", str(root), "data.dataset_root")
    elif root is None and not prepared:
        m.refuse(
            "data._target_",
            f"Bridge does not prepare the data of {name}; set data.dataset_root to the folder that NeMo has prepared "
            "(with training.jsonl)",
        )
    keywords = m["data.dataset_kwargs"]
    if isinstance(keywords, dict) and keywords:
        rest = {key: value for key, value in keywords.items() if not newer or key not in _SEMANTIC}
        if rest:
            m.derive("dataset_kwargs", rest, "data.dataset_kwargs")
    _packing(m, newer)
    if whole(m["strategy.context_parallel_size"]) and m["strategy.context_parallel_size"] > 1:
        m.derive("calculate_per_token_loss", True, "strategy.context_parallel_size")
        m.derive("average_in_collective", False, "strategy.context_parallel_size")
        message = "Bridge fine-tunes with a divided context only with the loss per token; it is switched on"
        m.tell("done-otherwise", "strategy.context_parallel_size", message)


# What dataset_kwargs say of the text, which Bridge 0.6 takes in its preprocessing only.
_SEMANTIC: Final = frozenset(
    "add_bos add_eos add_sep answer_only_loss chat chat_loss_mode label_key prompt_completion_config prompt_template "
    "truncation_field truncation_method use_hf_tokenizer_chat_template".split()
)


def _preprocessing(m: Meaning) -> Built:
    """NeMo's prompt and answer, with a space between: see gpt/data/core.py GPTSFTDataset."""
    keywords = m["data.dataset_kwargs"] if isinstance(m["data.dataset_kwargs"], dict) else {}
    if keywords.get("chat"):
        return Built(name_of("conversations", m.bridge), {})
    said = {"prompt_column": "input", "completion_column": keywords.get("label_key", "output"), "separator": " "}
    for name in ("add_bos", "add_eos", "add_sep", "truncation_method"):
        if name in keywords:
            said[name] = keywords[name]
    if keywords.get("answer_only_loss") is False:
        said["loss_mode"] = "full"
    for name in ("prompt_template", "truncation_field"):
        if keywords.get(name) is not None:
            m.lost("data.dataset_kwargs", f"{name} has to be said in dataset.preprocessing, in Bridge's words.")
    return Built(name_of("prompts with answers", m.bridge), said)


def _packing(m: Meaning, newer: bool) -> None:
    size = m["PackedSequenceSpecs.packed_sequence_size"]
    if not (whole(size) and size > 0):
        return
    names = ("packed_sequence_size", "tokenizer_model_name", "packed_train_data_path", "packed_val_data_path",
             "packed_metadata_path", "pad_cu_seqlens")  # fmt: skip
    said = {name: m[f"PackedSequenceSpecs.{name}"] for name in names if m[f"PackedSequenceSpecs.{name}"] is not None}
    m.derive(
        "packed_sequences",
        Built(name_of("packed sequences", m.bridge), said),
        *(f"PackedSequenceSpecs.{name}" for name in said),
    )
    if newer:
        m.derive("packing_on", True, "PackedSequenceSpecs.packed_sequence_size")


_PEFT: Final = ("LoRA", "DoRA", "CanonicalLoRA")


def adapters(m: Meaning) -> None:
    if m.run.peft is None:
        return
    name = m.run.peft.name.rpartition(".")[2]
    theirs = name_of(name, m.bridge) if name in _PEFT else ""
    if theirs not in m.schema.sections["peft"].classes:
        m.lost(
            "peft._target_", f"Bridge {m.bridge} has no adapters like {name}; all weights would be trained.", "model"
        )
        return
    m.derive("peft_class", theirs, "peft._target_")

"""A folder with a model of Hugging Face's: is all of it there before, and is it right afterwards."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from bridge_args.checkpoint import contents, tensors
from bridge_args.checkpoint.layout import CheckpointError, kind_of
from bridge_args.checkpoint.tensors import Tensor
from bridge_args.checkpoint.unpickle import Refused as Unreadable
from bridge_args.errors import UserError
from bridge_args.wording import counted, listed

INDEX: Final = "model.safetensors.index.json"
# One of them has the vocabulary. Verify: VOCAB_FILES_NAMES of transformers' tokenizers.
TOKENIZER: Final = (
    "tokenizer.json tokenizer.model vocab.json vocab.txt spiece.model sentencepiece.bpe.model tiktoken.model "
    "tekken.json qwen.tiktoken spm.model source.spm"
).split()
# What transformers' Trainer and DeepSpeed leave beside a model. Verify: transformers, trainer.py, _save_checkpoint.
OF_A_TRAINER: Final = ("trainer_state.json", "optimizer.pt", "scheduler.pt", "training_args.bin", "zero_to_fp32.py")
# Of which every one has a tensor of its own, and of which every one has a number.
_LAYERS: Final = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_WIDTHS: Final = (
    "vocab_size hidden_size n_embd intermediate_size n_inner num_attention_heads n_head num_key_value_heads head_dim "
    "num_experts num_local_experts n_routed_experts n_shared_experts moe_intermediate_size q_lora_rank kv_lora_rank "
    "qk_rope_head_dim qk_nope_head_dim v_head_dim"
).split()
_TEXT: Final = "Hello world! 1 + 1 = 2, für alle:\n\tdef f(x): return x  # 你好"
_MESSAGES: Final = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
_TOKENS: Final = 8  # of the text that the model is tried on

Weights = Literal["needed", "if any", "none"]


class NotRight(UserError):
    """A result that is not what it must be; the message has a line for each thing that is wrong."""


# Before ---------------------------------------------------------------------------------------------------------------


def reasons_against_model(folder: Path, weights: Weights = "needed", tokenizer: bool = True) -> list[str]:
    """Why a folder is not a whole model of Hugging Face's: configuration, tokenizer and safetensors. Without torch.

    Args:
        weights: ``if any``: a folder without is enough, but not one where some are missing; ``none``: they are not
            looked at.
        tokenizer: must be there.
    """
    if not folder.is_dir():
        return [f"{folder} is no folder" if folder.exists() else f"{folder} does not exist"]
    if (folder / "adapter_config.json").exists():
        return [f"{folder} is an adapter and no model (adapter_config.json); merge it into its model first"]
    if left := next((name for name in OF_A_TRAINER if (folder / name).exists()), None):
        return [f"{folder} holds the state of a trainer ({left}); name a folder with the model alone"]
    kind = kind_of(folder)
    if kind is not None and kind.name != "hugging-face":
        return [f"{folder} is a checkpoint of {kind.title}, and no model of Hugging Face's"]
    if not (folder / "config.json").exists() and (hint := contents.hint(folder)):
        return [f"{folder} is no model of Hugging Face's{hint}"]
    reasons = _against_config(folder / "config.json")
    sizes = [] if reasons else _sizes(folder)
    if tokenizer and not has_tokenizer(folder):
        reasons.append(f"{folder} has no tokenizer: neither {' nor '.join(TOKENIZER[:2])}, nor another vocabulary")
    elif tokenizer:
        found = [folder / name for name in TOKENIZER if (folder / name).is_file()]
        reasons += [tensors.said_of_pointer(file) for file in found if tensors.is_pointer(file)]
    has = any(folder.glob("*.safetensors")) or (folder / INDEX).exists()
    if weights == "needed" or (weights == "if any" and has):
        reasons += _against_weights(folder, has, sizes)
    return reasons


def has_tokenizer(folder: Path) -> bool:
    """Is there a file with a vocabulary?"""
    return any((folder / name).is_file() for name in TOKENIZER)


def config_of(folder: Path) -> Mapping[str, Any]:
    """What ``config.json`` says.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        return tensors.mapping_in(folder / "config.json")
    except (Unreadable, OSError) as error:
        raise CheckpointError(f"{folder / 'config.json'} cannot be read: {error}") from error


def vocabulary_of(folder: Path) -> int | None:
    """``vocab_size`` of a model, or of its part that is a model of language."""
    said = config_of(folder)
    text = said.get("text_config")
    size = said.get("vocab_size", text.get("vocab_size") if isinstance(text, dict) else None)
    return size if type(size) is int else None


def tokens_in(folder: Path) -> int | None:
    """How many tokens a tokenizer has, those that were added too; None where ``tokenizer.json`` does not say."""
    try:
        said = tensors.mapping_in(folder / "tokenizer.json")
    except (Unreadable, OSError):
        return None
    model, added = said.get("model"), said.get("added_tokens")
    words = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(words, (dict, list)) or not isinstance(added, (list, type(None))):
        return None
    numbers = list(words.values()) if isinstance(words, dict) else [len(words) - 1]
    numbers += [one.get("id") if isinstance(one, dict) else None for one in added or ()]
    return max(numbers) + 1 if numbers and all(type(number) is int for number in numbers) else None


def tensors_of(folder: Path) -> list[Tensor]:
    """By the headers of its files, in order of names."""
    return contents.look_into(folder).tensors


def _against_config(file: Path) -> list[str]:
    if not file.is_file():
        return [f"{file} is missing"]
    try:
        said = tensors.mapping_in(file)
    except (Unreadable, OSError) as error:
        return [str(error)]
    architectures = said.get("architectures")
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        return [f"{file} names no architecture"] if not said.get("model_type") else []
    return []


def layers_of(folder: Path) -> int | None:
    """How many layers ``config.json`` says; None where it does not."""
    return next((size for name, size in _sizes(folder) if name in _LAYERS), None)


def _sizes(folder: Path) -> list[tuple[str, int]]:
    """What ``config.json`` says of how large the model is."""
    said = config_of(folder)
    text = said.get("text_config")
    parts = [said, *([text] if isinstance(text, dict) else [])]
    return [(name, part[name]) for part in parts for name in (*_LAYERS, *_WIDTHS) if type(part.get(name)) is int]


def _against_weights(folder: Path, has: bool, sizes: Sequence[tuple[str, int]] = ()) -> list[str]:
    if not has:
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pth"))
        why = "; it has pickled ones, which are not loaded: save them with safe_serialization=True" if pickled else ""
        return [f"{folder} has no weights: neither model.safetensors nor {INDEX}{why}"]
    try:
        found = contents.look_into(folder)
    except (CheckpointError, OSError) as error:
        return [str(error)]
    missing = f"{folder / 'config.json'} is missing"
    problems = [problem for problem in found.problems if problem != missing]
    indexed, single = (folder / INDEX).exists(), (folder / "model.safetensors").is_file()
    if not problems:
        problems += _too_large(folder, sizes, found.tensors)
    if not problems and not indexed and not single:
        problems.append(f"{folder / INDEX} is missing, and there is no model.safetensors")
    if (
        not problems
        and indexed
        and single
        and "model.safetensors" not in tensors.files_of_index(folder / INDEX).values()
    ):
        problems.append(
            f"{folder} has its weights twice: model.safetensors, which transformers loads, and the files of {INDEX}, "
            "which other programs do; leave one of them"
        )
    return problems


def _too_large(folder: Path, sizes: Sequence[tuple[str, int]], held: Sequence[Tensor]) -> list[str]:
    """A model that its weights cannot be of: building it would take all memory, and no end."""
    numbers = sum(tensor.numbers for tensor in held)
    return [
        f"{folder / 'config.json'} says {name} {size}, and the weights have {counted(len(held), 'tensor')} with "
        f"{numbers:,} numbers"
        for name, size in sizes
        if size > (len(held) if name in _LAYERS else numbers)
    ]


# Afterwards -----------------------------------------------------------------------------------------------------------


def checked(
    folder: Path,
    source: Path | None = None,
    smoke: bool = True,
    trust_remote_code: bool = False,
    numbers: bool = True,
) -> list[str]:
    """Looks at a result as its users will.

    Args:
        source: whose tokenizer and chat template the result must have; None: it need have none.
        smoke: also load it with transformers, and have it say something.
        numbers: also read every number; who has written them may have looked.

    Returns:
        What was checked, for people.

    Raises:
        NotRight: something is wrong.
    """
    tokenizer = source is not None and has_tokenizer(source)
    if wrong := reasons_against_model(folder, "needed", tokenizer):
        raise NotRight("\n".join(wrong))
    held = tensors_of(folder)
    done = [f"{counted(len(held), 'tensor')} in the files that the index names", _sums(folder, held)]
    with _quiet():
        if numbers:
            done.append(_finite(folder))
        config = _config(folder, trust_remote_code)
        done.append(_shapes(folder, config, held, trust_remote_code))
        if source is not None and tokenizer:
            done.append(same_tokenizer(folder, source, trust_remote_code))
        if smoke:
            done.append(_said_something(folder, trust_remote_code))
    return done


def expected(folder: Path, trust_remote_code: bool = False) -> dict[str, tuple[int, ...]]:
    """The tensors that a model of this configuration is saved with, and their shapes.

    Raises:
        NotRight: transformers makes no model of it.
    """
    with _quiet():
        return _meant(folder, _config(folder, trust_remote_code), trust_remote_code)


def _sums(folder: Path, held: Sequence[Tensor]) -> str:
    """An index says what its files hold, and how many bytes."""
    total = tensors.bytes_of(held)
    if not (folder / INDEX).is_file():
        return f"{total or 0:,} bytes of them"
    index = tensors.mapping_in(folder / INDEX)
    names, placed = {tensor.name for tensor in held}, set(tensors.files_of_index(folder / INDEX))
    if lacking := sorted(names ^ placed):
        raise NotRight(f"{folder / INDEX} and its files do not agree about {_some(lacking)}")
    metadata = index.get("metadata")
    said = metadata.get("total_size") if isinstance(metadata, dict) else None
    if said is not None and total is not None and said != total:
        raise NotRight(f"{folder / INDEX} says {said:,} bytes, and its files have {total:,}")
    return f"the index and its {total or 0:,} bytes"


def _finite(folder: Path) -> str:
    torch, opened = importlib.import_module("torch"), importlib.import_module("safetensors").safe_open
    wrong = []
    for file in sorted(folder.glob("*.safetensors")):
        with opened(file, framework="pt") as held:
            for name in held.keys():
                tensor = held.get_tensor(name)
                if tensor.is_floating_point() and tensor.element_size() > 1 and not bool(torch.isfinite(tensor).all()):
                    wrong.append(name)
    if wrong:
        raise NotRight(f"{folder}: not every number is finite in {_some(wrong)}")
    return "every number is finite"


def _config(folder: Path, trust_remote_code: bool) -> Any:
    automatic = importlib.import_module("transformers").AutoConfig
    try:
        return automatic.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    except Exception as error:  # whatever a configuration of some model raises: the user gets its words
        raise NotRight(f"transformers does not take {folder / 'config.json'}: {_first(error)}") from error


def _shapes(folder: Path, config: Any, held: Sequence[Tensor], trust_remote_code: bool) -> str:
    meant = _meant(folder, config, trust_remote_code)
    have = {tensor.name: tensor.shape for tensor in held}
    lacking = sorted(meant.keys() - have.keys())
    # A tied one may be written twice, and a head for more tokens at once is no part of the class.
    other = sorted(name for name in meant.keys() & have.keys() if meant[name] != have[name])
    if lacking:
        raise NotRight(f"{folder} has no {_some(lacking)}, which its config.json means")
    if other:
        told = listed([f"{name} is {list(have[name])} for {list(meant[name])}" for name in other[:4]])
        raise NotRight(f"{folder}: what config.json means has other shapes: {told}")
    return f"{counted(len(meant), 'shape')} as config.json means them"


def _meant(folder: Path, config: Any, trust_remote_code: bool) -> dict[str, tuple[int, ...]]:
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    try:
        with torch.device("meta"):
            model = _class_of(transformers, config).from_config(config, trust_remote_code=trust_remote_code)
        state, seen = {}, set()
        for name, tensor in model.state_dict(keep_vars=True).items():
            if id(tensor) not in seen:  # of those that are tied the first is saved
                seen.add(id(tensor))
                state[name] = tensor.detach()
        with contextlib.suppress(ModuleNotFoundError):  # since 5: experts lie together, and are saved one by one
            state = importlib.import_module("transformers.core_model_loading").revert_weight_conversion(model, state)
    except Exception as error:
        raise NotRight(f"transformers makes no model of {folder / 'config.json'}: {_first(error)}") from error
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _class_of(transformers: Any, config: Any) -> Any:
    names = getattr(config, "architectures", None) or [""]
    conditional = str(names[0]).endswith("ForConditionalGeneration") and hasattr(config, "vision_config")
    return transformers.AutoModelForImageTextToText if conditional else transformers.AutoModelForCausalLM


def why_no_tokenizer(folder: Path, trust_remote_code: bool = False) -> str:
    """What transformers says of a tokenizer that it does not load; empty: it does."""
    return _why_not(_loaded_tokenizer, folder, trust_remote_code)


def why_no_configuration(folder: Path, trust_remote_code: bool = False) -> str:
    """What transformers says of a ``config.json`` that it does not take; empty: it does."""
    return _why_not(_config, folder, trust_remote_code)


def _why_not(load: Callable[[Path, bool], Any], folder: Path, trust_remote_code: bool) -> str:
    try:
        with _quiet():
            load(folder, trust_remote_code)
    except NotRight as error:
        return str(error)
    return ""


def _loaded_tokenizer(folder: Path, trust_remote_code: bool) -> Any:
    automatic = importlib.import_module("transformers").AutoTokenizer
    try:
        return automatic.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    except Exception as error:  # whatever a tokenizer raises: the user gets its words
        raise NotRight(f"transformers does not load the tokenizer of {folder}: {_first(error)}") from error


def same_tokenizer(folder: Path, source: Path, trust_remote_code: bool = False) -> str:
    """A tokenizer in a result, as transformers loads it, beside the one that it was copied from.

    Raises:
        NotRight: it does not load, or does something else.
    """
    ours = _loaded_tokenizer(folder, trust_remote_code)
    if not (source / "config.json").is_file() and why_no_tokenizer(source, trust_remote_code):
        return f"the tokenizer is loaded by transformers (that of {source} is not, for want of a config.json)"
    theirs = _loaded_tokenizer(source, trust_remote_code)
    if (ids := ours(_TEXT)["input_ids"]) != (their := theirs(_TEXT)["input_ids"]):
        raise NotRight(f"{folder}: the tokenizer makes {ids[:8]} of a text, and that of {source} {their[:8]}")
    if ours.decode(ids) != theirs.decode(their):
        raise NotRight(f"{folder}: the tokenizer reads its tokens as another text than that of {source}")
    if ours.chat_template != theirs.chat_template:
        raise NotRight(f"{folder}: the chat template is not that of {source}")
    if isinstance(ours.chat_template, str):
        with contextlib.suppress(importlib.import_module("jinja2").TemplateError):  # it takes no such conversation
            if ours.apply_chat_template(_MESSAGES, tokenize=False) != theirs.apply_chat_template(
                _MESSAGES, tokenize=False
            ):
                raise NotRight(f"{folder}: the chat template says something else than that of {source}")
    return "tokenizer and chat template as in the source"


def _said_something(folder: Path, trust_remote_code: bool) -> str:
    """Loaded as anybody loads it: every weight in its place, and numbers for the next token."""
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    automatic = _class_of(transformers, _config(folder, trust_remote_code))
    try:
        model, about = automatic.from_pretrained(
            folder, output_loading_info=True, trust_remote_code=trust_remote_code, local_files_only=True
        )
    except Exception as error:
        raise NotRight(f"transformers does not load {folder}: {_first(error)}") from error
    for what, names in (
        ("has no", about["missing_keys"]),
        ("has a superfluous", about["unexpected_keys"]),
        ("has another shape for", [str(one[0]) for one in about["mismatched_keys"]]),
    ):
        if names:
            raise NotRight(f"{folder} {what} {_some(sorted(names))}")
    vocabulary = model.get_input_embeddings().weight.shape[0]
    with torch.no_grad():
        logits = model.eval()(input_ids=torch.arange(_TOKENS).unsqueeze(0) % vocabulary).logits
    if logits.shape[:2] != (1, _TOKENS) or not bool(torch.isfinite(logits).all()):
        raise NotRight(f"{folder}: the model says nothing that is a number")
    return f"loaded by transformers with every weight in its place, and run on {_TOKENS} tokens"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and warnings of libraries, and without asking anybody on the network."""
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    said = importlib.import_module("transformers").utils.logging
    level, bars = said.get_verbosity(), said.is_progress_bar_enabled()
    said.set_verbosity_error()
    said.disable_progress_bar()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        said.set_verbosity(level)
        if bars:
            said.enable_progress_bar()
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before


def _some(names: Sequence[str]) -> str:
    return listed([*names[:3], *([f"{len(names) - 3} more"] if len(names) > 3 else [])])


def _first(error: BaseException) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:400]}"

"""A file or folder of NeMo 2.0 as a source: a recipe in YAML, ``model.yaml``, ``io.json``, or a checkpoint's folder."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Final

from bridge_args.files import read_bytes, remember
from bridge_args.mapping.settings import Statements
from bridge_args.source.nemo2.defaults import Class
from bridge_args.source.nemo2.fiddle_json import MAX_TEXT, read_json
from bridge_args.source.nemo2.flatten import Run, run_of
from bridge_args.source.nemo2.meaning import said_to
from bridge_args.source.nemo2.objects import Made, Nemo2Problem
from bridge_args.source.nemo2.pickled import read_pickle
from bridge_args.source.nemo2.yaml_file import read_yaml
from bridge_args.source.source import Source, SourceError

MADE_FROM: Final = "a NeMo 2.0 configuration"
_IO: Final = "io.json"
_MODEL: Final = "model.yaml"

# Models that are no decoders of text alone, by what their configuration is made from.
_OTHERS: Final = {
    "T5Config": "an encoder with a decoder",
    "BertConfig": "an encoder",
    "HyenaConfig": "made of Hyena layers, which Bridge does not have",
    "Llama32EmbeddingConfig1B": "a model of embeddings, trained to tell texts apart",
    "Llama32EmbeddingConfig3B": "a model of embeddings, trained to tell texts apart",
    "Llama32Reranker1BConfig": "a model that ranks texts",
    "Llama32Reranker500MConfig": "a model that ranks texts",
}


def is_recipe(text: str) -> bool:
    """Is this YAML of NeMo 2.0? By the classes that it names."""
    return re.search(r"^ {0,4}(- )?_target_: *['\"]?nemo\.(collections|lightning)\.", text, re.MULTILINE) is not None


def command_for(text: str, name: str) -> str:
    """The command that makes a configuration of Bridge of a text, where it is one of NeMo's; else nothing."""
    if re.search(r"^_target_: *['\"]?nemo\.tron\.", text, re.MULTILINE):
        return f"bridge-args migrate run-config {name}"
    if os.path.basename(name) == _IO and '"refcounts"' in text or is_recipe(text):
        return f"bridge-args migrate nemo2 {name}"
    return ""


def folder_with_context(path: str) -> str | None:
    """Where ``io.json`` lies: the folder, its ``context``; None where there is none."""
    for folder in (os.path.join(path, "context"), path):
        if os.path.isfile(os.path.join(folder, _IO)):
            return folder
    return None


def from_recipe(text: str, name: str) -> Source:
    """YAML that a recipe was written to, or ``model.yaml``.

    Raises:
        SourceError: it is no such file, or describes what is not translated.
        YamlProblem: as ``nodes.read``.
    """
    try:
        made = read_yaml(text, name)
        complete = os.path.basename(name) == _MODEL or _states_all(made)
        return _source(made._replace(complete=complete) if not complete else _completed(made), text, name)
    except Nemo2Problem as problem:
        raise SourceError(str(problem)) from problem


def from_context(path: str) -> Source:
    """``io.json``, or the folder it lies in, with the pickles that it refers to.

    Raises:
        SourceError: it cannot be read, or describes what is not translated.
    """
    file = Path(path, _IO) if os.path.isdir(path) else Path(path)
    remember(file)
    try:
        text = read_bytes(file, MAX_TEXT).decode("utf-8")
        made = read_json(text, str(file), lambda name, target: read_pickle(file.parent / name, target))
        return _source(made, text, str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except Nemo2Problem as problem:
        raise SourceError(str(problem)) from problem


def _states_all(made: Made) -> bool:
    """Does the file write out every field of the model, defaults too, as ``context/model.yaml`` does?"""
    config = made.value("config") if isinstance(made.value("config"), Made) else made
    return len(config.given) > 100


def _completed(made: Made) -> Made:
    given = {
        name: one._replace(value=_completed(one.value)) if isinstance(one.value, Made) else one
        for name, one in made.given.items()
    }
    return made._replace(given=given, complete=True)


def _source(made: Made, text: str, name: str) -> Source:
    run = run_of(made, name)
    refused(run, name)
    return Source.of_statements(Statements(MADE_FROM, partial(said_to, run)), text, name)


def refused(run: Run, name: str) -> None:
    """What is not translated is said to be so, before anything is written.

    Raises:
        Nemo2Problem: the model is no decoder of text alone.
    """
    for parent, what in _OTHERS.items():
        if run.model.is_a(parent):
            shown = _short(run.model)
            raise Nemo2Problem(
                f"{name}: the model is {what} ({shown}); only decoders of text are translated: GPT-like models, "
                "mixtures of experts, Mamba and hybrids"
            )


def _short(model: Class) -> str:
    return model.name.rpartition(".")[2]

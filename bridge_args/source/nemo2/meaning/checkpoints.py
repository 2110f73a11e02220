"""Where a run saves to, and what it starts from."""

from __future__ import annotations

from bridge_args.source.nemo2.meaning.state import Meaning


def checkpoints(m: Meaning) -> None:
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
        m.derive(
            "dist_ckpt_strictness", "assume_ok_unexpected" if strict else "log_all", "strategy.ckpt_load_strictness"
        )
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
                f"{start} is NeMo's name for a model of Hugging Face that it has imported; Bridge needs a checkpoint "
                f"of Megatron's at checkpoint.pretrained_checkpoint ({rest or start})"
            )
            m.tell(
                "stops-later",
                "RestoreConfig.path",
                message,
                "make one with `bridge-args checkpoint import`, and give its folder",
            )
    elif m.run.peft is not None:
        m.derive("pretrained_checkpoint", "pretrained_checkpoint")
        m.refuse(
            "peft._target_",
            "adapters need the checkpoint of the model that they adapt; set checkpoint.pretrained_checkpoint",
        )

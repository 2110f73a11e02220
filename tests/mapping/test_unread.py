"""A typed value that is not what the run has, or that nothing reads in this run, is told by every command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from small import SMALL

import bridge_args
from bridge_args.bridge import schema as schemas
from bridge_args.cli.main import main
from bridge_args.drop_in.accept import refused
from bridge_args.findings import Finding
from bridge_args.mapping import check, grammar, table
from bridge_args.mapping.rows import TableError
from bridge_args.megatron_lm import catalog, readers
from bridge_args.megatron_lm.derive.registry import CONTEXT
from bridge_args.versions import Versions

MOE = "--num-experts 4"
CHOICES: dict[str, set[object]] = {}
for _version in catalog.versions():
    for _argument in catalog.load(_version).arguments:
        if _argument.choices:
            CHOICES.setdefault(_argument.dest, set()).update(_argument.choices)


def told(words: str, kind: str = "ignored-by-megatron", **given: object) -> list[Finding]:
    made = bridge_args.translate([*SMALL, *words.split()], world_size=1, **given)  # type: ignore[arg-type]
    return [finding for finding in made.findings if finding.kind == kind]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "--position-embedding-type rope --use-rope-scaling --rope-scaling-factor 32",
            "--rope-scaling-factor 32 has no effect: Megatron-LM 0.16 does not pass it to its GPT model, which always",
        ),
        (
            "--data-parallel-sharding-strategy optim_grads",
            "--data-parallel-sharding-strategy optim_grads has no effect: Megatron-LM reads it only with "
            "--use-megatron-fsdp",
        ),
        (
            "--moe-z-loss-coeff 0.1 --lr-warmup-iters 2 --moe-router-topk 4",
            "--moe-z-loss-coeff 0.1 and --moe-router-topk 4 have no effect: Megatron-LM reads them only with "
            "--num-experts",
        ),
        (f"{MOE} --moe-token-drop-policy position", "only with --moe-expert-capacity-factor"),
        (
            f"{MOE} --moe-router-load-balancing-type sinkhorn --moe-router-topk 1 --moe-aux-loss-coeff 0",
            "",
        ),
        (
            f"{MOE} --moe-router-load-balancing-type none --moe-aux-loss-coeff 0.1",
            "only with --moe-router-load-balancing-type aux_loss, seq_aux_loss or global_aux_loss",
        ),
        ("--fp16 --min-loss-scale 4", ""),
        ("--bf16 --min-loss-scale 4", "--min-loss-scale 4 has no effect: Megatron-LM reads it only with --fp16"),
        ("--rotary-base 20000", "only with --position-embedding-type rope or mrope or --multi-latent-attention"),
        ("--rotary-base 20000 --position-embedding-type rope", ""),
        ("--num-query-groups 2", "--num-query-groups 2 becomes None, because of group_query_attention=False"),
        ("--group-query-attention --num-query-groups 2", ""),
        ("--recompute-method uniform --recompute-num-layers 1", "only with --recompute-granularity full"),
        ("--recompute-granularity full --recompute-method uniform --recompute-num-layers 1", ""),
        ("--sequence-parallel", "--sequence-parallel becomes False, because of tensor_model_parallel_size=1"),
        ("--optimizer sgd --adam-beta1 0.8", "--adam-beta1 0.8 has no effect: Megatron-LM reads it only with"),
        ("--openai-gelu", "--openai-gelu has no effect: Only the legacy models read it"),
        ("--hybrid-attention-ratio 0.5", "only with pretrain_mamba.py"),
        (f"{MOE} --moe-router-load-balancing-type aux_loss --moe-aux-loss-coeff 1e-2", ""),
        ("--lr-decay-style cosine --lr-wsd-decay-iters 4", "only with --lr-decay-style WSD"),
        ("--num-experts 4 --save-interval 5", "--save-interval 5 has no effect: Megatron-LM reads it only with --save"),
        ("--save /x --save-interval 5", ""),
    ],
)  # fmt: skip
def test_what_is_told(words: str, said: str) -> None:
    findings = told(words, megatron_lm="0.16.1")
    if not said:
        assert findings == []
    else:
        (finding,) = findings
        assert said in finding.message and finding.level == "warning"


def test_a_default_that_is_typed_is_not_told() -> None:
    assert told("--sgd-momentum 0.9 --moe-router-topk 2 --rotary-percent 1.0 --fp8-margin 0 --adam-eps 1e-08") == []


def test_values_that_are_what_the_run_has_are_no_surprise() -> None:
    """``aux_loss`` becomes a text where a list was typed, and ``bf16`` a dtype; that is the same thing."""
    assert told("--use-precision-aware-optimizer --use-distributed-optimizer --bf16 --main-grads-dtype bf16") == []
    assert told("--num-experts 4 --moe-router-load-balancing-type aux_loss --moe-aux-loss-coeff 0.01") == []


def test_what_only_others_read_is_a_note() -> None:
    words = "--inference-max-seq-length 4096 --max-tokens-to-oom 9 --img-h 3 --use-flash-attn"
    findings = told(words, "no-effect")
    assert [finding.level for finding in findings] == ["note"] * 3
    assert findings[0].message.startswith(
        "--inference-max-seq-length 4096 and --max-tokens-to-oom 9 have no effect: Only"
    )
    assert told(words) == []


def test_every_command_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "train.sh"
    script.write_text(f"torchrun --nproc-per-node 1 pretrain_gpt.py {' '.join(SMALL)} \\\n  --num-query-groups 2\n")
    said = f"{script}:2: --num-query-groups 2 becomes None"
    for words in ("translate", "report", "launch --dry-run", "translate --format json", "report --format markdown"):
        command, *options = words.split()
        assert main([command, str(script), *options]) == 0
        found = capsys.readouterr()
        text = " ".join((found.out + found.err).replace("\\_", "_").split())
        assert "--num-query-groups 2 becomes None" in text, words
        assert said in text or "markdown" in words, words
    assert main(["audit", str(script), "--format", "json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["commands"]
    assert [finding["kind"] for finding in entry["findings"]].count("ignored-by-megatron") == 1
    assert main(["report", str(script), "--format", "json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert ["num_query_groups"] == [name for f in findings for name in f["arguments"] if name == "num_query_groups"]


def test_what_nothing_reads_is_not_lost() -> None:
    """The interval of a hook that is not there stops no run."""
    alone = bridge_args.translate([*SMALL, "--adlr-autoresume-interval", "4"], world_size=1)
    assert alone.losses == () and refused(alone) == ()
    together = bridge_args.translate([*SMALL, "--adlr-autoresume-interval", "4", "--adlr-autoresume"], world_size=1)
    assert {name for finding in together.losses for name in finding.arguments} == {
        "adlr_autoresume",
        "adlr_autoresume_interval",
    }


def test_a_mistake_elsewhere_is_told_once() -> None:
    """Whether there are experts is not known where their number cannot be read."""
    made = bridge_args.translate([*SMALL, "--num-experts", "x", "--moe-router-topk", "4"], world_size=1)
    assert [finding.kind for finding in made.findings] == ["bad-value"]


def test_every_condition_is_about_arguments() -> None:
    """Names and values are Megatron-LM's, in some version; no condition is about the argument itself."""
    known = {name for each in catalog.versions() for name in catalog.load(each).defaults}
    for name, condition in readers.all_conditions():
        assert name in known, name
        for part in readers.alternatives(condition):
            assert part.argument in known or part.argument in CONTEXT, condition
            assert part.argument != name
            if part.argument in CHOICES:
                assert set(part.values) <= CHOICES[part.argument], condition


@pytest.mark.parametrize(("name", "condition"), list(readers.all_conditions()), ids=lambda text: str(text)[:40])
def test_a_condition_can_be_met(name: str, condition: str) -> None:
    """With each of the things that are said to be enough, the condition holds; with none of them it does not."""
    for part in readers.alternatives(condition):
        values: dict[str, object] = {part.argument: part.values[0] if part.values else True}
        assert readers.unmet(name, values.get, lambda other: True) != condition
    assert readers.unmet(name, lambda other: None, lambda other: True)
    assert readers.unmet(name, lambda other: None, lambda other: False) == ""


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("arguments:\n  lr: {to: optimizer.lr, tell: note}\n", "mappings/x.yaml:2: tell is said of not_needed"),
        ("arguments:\n  lr: {not_needed: No., tell: loudly}\n", "mappings/x.yaml:2: tell is note or warning, not"),
    ],
)  # fmt: skip
def test_what_the_grammar_refuses(rows: str, said: str) -> None:
    with pytest.raises(TableError, match=re.escape(said)):
        grammar.read(rows, "x", Versions("0.16.1", "0.3.1"))


@pytest.mark.parametrize(
    ("opener", "words"),
    [
        ("--perform-rl-step --langrl-env-config e", "--grpo-kl-beta 0.5"),
        ("--perform-rl-step --langrl-env-config e", "--inference-max-seq-length 64"),
        ("--ckpt-convert-format torch_dist --load /l", "--ckpt-convert-update-legacy-dist-opt-format"),
        ("--sft", "--sft-tokenizer-prompt-format identity"),
        ("--vision-pretraining", "--vision-pretraining-type inpaint"),
    ],
)
def test_with_what_reads_it_a_value_is_lost_and_without_it_has_no_effect(opener: str, words: str) -> None:
    flag, name = words.split()[0], opener.split()[0]
    (alone,) = told(words, "no-effect")
    assert flag in alone.message and "has no effect" in alone.message
    assert not told(f"{opener} {words}", "no-effect")
    (lost,) = (one for one in told(f"{opener} {words}", "no-equivalent") if flag in one.message)
    assert f"lost with {name}, which has no equivalent in Bridge." in lost.message
    data = json.loads(bridge_args.report(bridge_args.translate([*SMALL, *opener.split(), *words.split()], 1), "json"))
    (argument,) = (one for one in data["arguments"] if one["flag"] == flag)
    assert (argument["fate"], argument["short"]) == ("no_equivalent", "no equivalent")
    assert not any(one["kind"] == "not-needed" and flag in one["message"] for one in data["findings"])


def test_what_says_what_a_checkpoint_gives_is_read_only_with_it() -> None:
    words = "--use-mp-args-from-checkpoint-args"
    (alone,) = told(words, "ignored-by-megatron")
    assert "use-checkpoint-args" in alone.message
    assert not any(words in one.message for one in told(f"--use-checkpoint-args --load /l {words}", "no-equivalent"))


def test_a_reason_that_names_what_reads_an_argument_is_no_reason_beside_it() -> None:
    for row in table.load(Versions("0.16.1", "0.3.1")).rows.values():
        flags = re.findall(r"(?:with|of) (--[a-z-]+)", row.reason)
        if row.fate == "not_needed" and re.match(r"(Read|Only)\b", row.reason) and flags:
            assert row.unless == tuple(flag[2:].replace("-", "_") for flag in flags), row.place


def accepted(words: str, kind: str, megatron: str = "0.16.1", bridge: str = "0.3.1") -> list[Finding]:
    made = bridge_args.translate([*SMALL, *words.split()], world_size=1, megatron_lm=megatron, bridge=bridge)
    return [finding for finding in made.findings if finding.kind == kind]


def test_a_setting_that_no_code_of_bridge_reads_is_told() -> None:
    words = "--inprocess-restart --inprocess-max-iterations 3"
    (lost,) = accepted(words, "accepted-without-effect")
    assert lost.message.startswith(
        "--inprocess-max-iterations 3 has no effect: Bridge 0.3.1 accepts inprocess_restart.max_iterations, and no"
    )
    assert (lost.level, lost.changes, lost.arguments) == ("warning", "numbers", ("inprocess_max_iterations",))
    made = bridge_args.translate([*SMALL, *words.split()], world_size=1, megatron_lm="0.16.1", bridge="0.3.1")
    assert lost in made.losses and lost in made.number_losses
    assert "inprocess_restart.max_iterations" in [assignment.path for assignment in made.assignments]
    (speed,) = accepted("--inprocess-restart --inprocess-progress-watchdog-interval 9", "accepted-without-effect")
    assert speed.changes == "speed"


def test_what_megatron_does_not_read_either_is_a_note() -> None:
    """Tokens of T5, which Megatron-LM reads before 0.17, when it built tokenizers itself."""
    words, kind = "--vocab-extra-ids 5", "accepted-without-effect"
    (note,) = (one for one in accepted(words, "no-effect", "0.19.0", "0.6.2") if "vocab_extra_ids" in one.arguments)
    assert "nor does Megatron-LM read the argument" in note.message
    assert not accepted(words, kind, "0.19.0", "0.6.2")
    assert accepted(words, kind, "0.16.1", "0.6.2")
    assert not accepted(words, kind, "0.16.1", "0.3.1")  # which reads it


def test_a_default_in_such_a_setting_is_not_told() -> None:
    assert not accepted("--inprocess-restart", "accepted-without-effect")


def test_rows_that_lead_nowhere_are_refused() -> None:
    """Without ``unread``, and with it where every Bridge reads the setting."""
    versions = Versions("0.16.1", "0.3.1")
    whole, schema = table.load(versions), schemas.load("0.3.1")
    row = whole.rows["inprocess_max_iterations"]
    silent = whole.with_rows([row._replace(unread="")])
    (problem,) = check.check_unread(silent, catalog.load("0.16.1"), schema)
    assert "goes to inprocess_restart.max_iterations, which nothing in Bridge 0.3.1 reads" in problem
    assert not list(check.check_unread(whole, catalog.load("0.16.1"), schema))
    stale = whole.rows["micro_batch_size"]._replace(unread="lost")
    assert "says unread, and every Bridge" in next(check.check_stale_unread(stale, whole))
    with pytest.raises(TableError, match="unread is said of to"):
        grammar.read("arguments:\n  lr: {not_needed: No., unread: lost}\n", "x", versions)
    with pytest.raises(TableError, match="unread is lost, note or told, not 'x'"):
        grammar.read("arguments:\n  lr: {to: optimizer.lr, unread: x}\n", "x", versions)

"""A hand-written Bridge script: the run of ``launch.py``, without a command line of Megatron-LM's.

    BRIDGE_ARGS_CPU=1 python benchmarks/by_hand.py

With ``BRIDGE_ARGS_CPU`` it runs under the same emulation as the drop-in.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any


def prepare() -> contextlib.AbstractContextManager[Any]:
    """What a machine without a GPU needs; what comes back is to be open while Bridge is imported."""
    if not os.environ.get("BRIDGE_ARGS_CPU"):
        return contextlib.nullcontext()
    from bridge_args.emulation import device, placeholders

    device.install(transformer_engine=False, apex_layer_norm=False)
    device.prepare_megatron_core()
    return placeholders.absent_packages()


def config() -> Any:
    import torch
    from megatron.bridge.models.gpt_provider import GPTModelProvider, local_layer_spec
    from megatron.bridge.training.config import (
        CheckpointConfig,
        ConfigContainer,
        DistributedDataParallelConfig,
        GPTDatasetConfig,
        LoggerConfig,
        OptimizerConfig,
        RerunStateMachineConfig,
        SchedulerConfig,
        TokenizerConfig,
        TrainingConfig,
    )
    from megatron.bridge.training.mixed_precision import MixedPrecisionConfig

    return ConfigContainer(
        model=GPTModelProvider(
            num_layers=2,
            hidden_size=64,
            ffn_hidden_size=128,
            kv_channels=16,
            num_attention_heads=4,
            seq_length=64,
            vocab_size=1024,
            position_embedding_type="rope",
            normalization="RMSNorm",
            activation_func=torch.nn.functional.silu,
            gated_linear_unit=True,
            bias_activation_fusion=True,
            bias_dropout_fusion=True,
            add_bias_linear=False,
            share_embeddings_and_output_weights=False,
            transformer_impl="local",
            transformer_layer_spec=local_layer_spec,
            expert_tensor_parallel_size=1,
            gradient_accumulation_fusion=False,
            cross_entropy_loss_fusion=False,
            persist_layer_norm=False,
            apply_rope_fusion=False,
            cp_comm_type="p2p",
            cuda_graph_scope=[],
            inference_sampling_seed=1234,
        ),
        train=TrainingConfig(micro_batch_size=2, global_batch_size=4, train_iters=2, eval_iters=0, eval_interval=1000),
        optimizer=OptimizerConfig(
            lr=1e-3, min_lr=0.0, muon_momentum=0.9, optimizer_offload_fraction=1.0, barrier_with_L1_time=True
        ),
        ddp=DistributedDataParallelConfig(check_for_nan_in_grad=True),
        scheduler=SchedulerConfig(lr_decay_iters=2, start_weight_decay=0.01, end_weight_decay=0.01),
        dataset=GPTDatasetConfig(
            random_seed=1234,
            seq_length=64,
            dataloader_type="single",
            num_workers=2,
            persistent_workers=True,
            reset_position_ids=False,
            reset_attention_mask=False,
            eod_mask_loss=False,
            skip_getting_attention_mask_from_dataset=False,
        ),
        logger=LoggerConfig(log_interval=1),
        tokenizer=TokenizerConfig(tokenizer_type="NullTokenizer", vocab_size=1024),
        checkpoint=CheckpointConfig(use_persistent_ckpt_worker=False, strict_fsdp_dtensor_load=True),
        rerun_state_machine=RerunStateMachineConfig(rerun_mode="validate_results"),
        mixed_precision=MixedPrecisionConfig(
            bf16=True,
            params_dtype=torch.bfloat16,
            pipeline_dtype=torch.bfloat16,
            fp8_recipe="delayed",
            num_layers_at_start_in_bf16=1,
            num_layers_at_end_in_bf16=1,
        ),
    )


def main() -> None:
    with prepare():
        from megatron.bridge.training.gpt_step import forward_step
        from megatron.bridge.training.pretrain import pretrain
    pretrain(config(), forward_step)


if __name__ == "__main__":
    main()

"""Checkpoints written by Megatron-LM."""

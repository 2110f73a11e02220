"""Running Megatron-LM and Bridge side by side, and saying whether they are the same run."""

"""Shell words and launchers; nothing here knows Megatron-LM or Bridge."""

"""What Bridge accepts; nothing here knows Megatron-LM."""

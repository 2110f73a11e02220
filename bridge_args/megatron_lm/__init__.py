"""What Megatron-LM's arguments are and mean; nothing here knows Bridge."""

"""A Megatron-LM checkout of the user's own, asked in a process of its own; nothing of it is imported into ours."""

"""A Megatron-LM command line moved to another version of Megatron-LM, in the user's own file."""

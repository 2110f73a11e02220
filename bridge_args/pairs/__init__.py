"""Which version of Megatron-LM and which of Bridge a translation is for."""

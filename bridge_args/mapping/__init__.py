"""From Megatron-LM arguments to Bridge settings; the only package that knows both."""

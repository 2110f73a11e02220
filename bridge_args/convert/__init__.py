"""Checkpoints from one format to another: what is checked before, how the result appears, what is written of it."""

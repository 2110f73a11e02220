"""Checkpoints: what a folder of one is, what it holds, and how it is mended."""

"""Configurations of NeMo 2.0: recipes as YAML, and what a checkpoint keeps of its run in ``context/``."""

"""A recipe of NeMo 2.0 that is a program, run on request; its files are read in ``source/nemo2``."""

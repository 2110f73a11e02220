"""YAML files a run can start from: a mapping of flags (``MODEL_ARGS``), and Megatron-LM's own ``--yaml-cfg`` format."""

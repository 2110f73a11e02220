"""What stands in for ``pretrain_gpt.py``, inside each rank."""

"""Starting the real training loop from a Translation."""

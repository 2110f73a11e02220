"""A run for some steps, in folders of its own, on whatever machine there is."""

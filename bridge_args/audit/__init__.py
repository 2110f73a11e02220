"""Many sources at once. Read ``run.py`` first."""

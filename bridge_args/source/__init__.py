"""What a translation can start from: words, a script, YAML, a checkpoint."""

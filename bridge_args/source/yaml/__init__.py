"""YAML that says what is run."""

"""Settings that are chosen as a whole from several arguments."""

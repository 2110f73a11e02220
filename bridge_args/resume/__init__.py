"""What counts when a run goes on from a checkpoint: its flags, or what the checkpoint holds; or that it stops."""

"""Bridge's training loop: its container, its processes, and what is recorded of a step."""

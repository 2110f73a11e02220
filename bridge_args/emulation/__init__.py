"""Stand-ins for what needs a GPU, so that a run can be tried on a CPU."""

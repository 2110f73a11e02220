"""Where a job is started: on this machine, by Slurm, by NeMo-Run."""

"""Where effective values come from: worked out here, asked of a checkout, or saved by a run."""

"""Runs that other programs, or other versions of Bridge, were configured for: their files in Bridge's words."""

"""A Translation as text; the functions here decide nothing."""

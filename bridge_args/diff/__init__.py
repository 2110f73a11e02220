"""What differs between two runs, whatever each was read from: in Bridge's words, defaults included."""

"""From committed rows to signed checkpoints of a tree."""

"""Transparency log formats: leaves, trees, notes, checkpoints, anchors. Pure: no database, no network."""

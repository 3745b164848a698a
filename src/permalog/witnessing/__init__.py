"""What others vouch for: co-signatures, anchors, and proofs for whoever asks."""

"""People and owners, forgotten."""

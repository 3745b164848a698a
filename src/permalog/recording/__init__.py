"""From `record()` to a committed row: spool, drain, quarantine, store."""

"""Pages, counts, exports and the tail of a log, as a reader may see them."""

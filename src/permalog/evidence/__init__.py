"""Evidence bundles: made from a database, verified without one."""

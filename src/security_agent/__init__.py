"""The security agent: the application whose every action Permalog records."""

"""The outside of Permalog: commands, and later the HTTP API, the pages and the worker."""

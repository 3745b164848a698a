"""The service of a module, and the people who use it."""

from sites import folder, make_database, people, quiet, site

__all__ = ["folder", "make_database", "people", "quiet", "site"]

"""Viewers: what a reader may see of the product's own people."""

from __future__ import annotations

from enum import StrEnum


class Viewer(StrEnum):
    """Who reads.

    To a customer, staff are “Support”: the database itself hides their identities from the reader (row-level security
    on ``permalog.identity``), so that masking comes before every filter, search and count, and cannot be forgotten.
    """

    STAFF = "staff"
    CUSTOMER = "customer"

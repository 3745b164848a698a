"""Triage: from an alert's facts alone, whether the code must be looked at, and what is likely to be done."""

"""Raises when it is imported, for the test of an application of compiled modules."""

raise ValueError("compiled")

"""Signed over-the-air updates for MicroPython boards: the host side.

cli -> client, service, board -> config, firmware -> trust -> formats, disk -> errors; the contract
in pyproject.toml holds these arrows, and docs/architecture.md has the reasons.
"""

__version__ = "0.3.0.dev0"

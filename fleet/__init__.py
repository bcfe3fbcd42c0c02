"""The host side of the update system: packages, the update service and the command line."""

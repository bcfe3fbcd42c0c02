"""Freezes the agent into somebody's own MicroPython build: docs/freezing.md."""

metadata(description="Signed over-the-air updates, with rollback", version="0.3.0.dev0")
package("ota", base_path="firmware")
module("link.py", base_path="firmware")

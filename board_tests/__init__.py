"""Tests that drive one real board: `make board-test PORT=...` (docs/board-tests.md)."""

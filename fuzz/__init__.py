"""Fuzzing of every parser of what strangers hand over, on the host and on the board; README.md."""

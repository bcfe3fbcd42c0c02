"""The host side of a real board: what its flash holds, how it gets there, a look inside."""

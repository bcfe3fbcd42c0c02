"""A real board on a cable: what its flash holds, how it gets there, a look inside."""

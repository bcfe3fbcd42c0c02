"""The database's tables, each with what it is asked: the parts of a `store.Transaction`."""

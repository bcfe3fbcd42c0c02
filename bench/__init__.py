"""How fast an update travels, beside plain downloads of the same bytes on the same board."""

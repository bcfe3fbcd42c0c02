"""`make bench-fleet`: how many boards the service carries, beside the barest publisher there is."""

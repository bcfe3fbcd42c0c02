"""Set-up, checks and house-keeping of the project. Nothing in here runs on a board."""

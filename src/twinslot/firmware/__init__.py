"""The code of boards: its sources, and the files made of them."""

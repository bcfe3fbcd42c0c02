"""What runs on boards: its sources, and the files made of them."""

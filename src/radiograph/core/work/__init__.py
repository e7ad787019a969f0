"""Work in other processes: our own children, and the one door to Ray."""

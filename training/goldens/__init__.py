"""Tiny random checkpoints and the numbers that any implementation must reproduce from them."""

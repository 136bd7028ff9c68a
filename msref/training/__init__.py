"""Losses, models, optimisers, the fitting loop and its checkpoints."""

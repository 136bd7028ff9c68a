"""Closed forms and procedures that start a network before training."""

"""The architectures: one file each, one protocol for all."""

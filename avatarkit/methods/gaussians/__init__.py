"""Gaussians bound to the tracked head."""

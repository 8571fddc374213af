"""Mattes and face parsing."""

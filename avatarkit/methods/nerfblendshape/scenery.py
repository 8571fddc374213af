"""What stays behind the head: see ``avatarkit.methods.scenery``, which all methods share."""

from avatarkit.methods.scenery import scenery

__all__ = ["scenery"]

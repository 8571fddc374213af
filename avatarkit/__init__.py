"""avatarkit: Unix-style tools that make a drivable head avatar from a video or a photo."""

__version__ = "0.1.0"

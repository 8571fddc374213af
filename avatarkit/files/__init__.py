"""Everything that is read or written: tracks, avatars, video, standard streams."""

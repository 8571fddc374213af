"""Neural Head Avatars: explicit geometry and texture networks on the tracked head (Grassal et al. 2022)."""

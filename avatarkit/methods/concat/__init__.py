"""The concatenation baseline of NeRFBlendShape (Gao et al. 2022, section 4.3)."""

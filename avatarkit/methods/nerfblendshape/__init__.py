"""NeRFBlendShape: a head as hash-encoded radiance fields blended by expression (Gao et al. 2022)."""

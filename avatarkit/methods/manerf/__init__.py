"""MA-NeRF: motion-assisted radiance fields from sparse images (Zhang et al. 2023)."""

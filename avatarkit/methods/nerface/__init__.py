"""Dynamic neural radiance fields of a head (Gafni et al. 2021)."""

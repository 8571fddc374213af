"""Neural Body (Peng et al. 2021) on the tracked head instead of a body."""

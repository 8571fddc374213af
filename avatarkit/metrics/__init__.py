"""Image and identity metrics, one definition each."""

"""What every method that shoots rays through a radiance field shares. Not a method itself."""

"""From video to track: landmarks, solver, smoothing."""

"""Cameras, compositing, rasterized meshes, scripted performances."""

"""Blending: how a generated crop goes back into the picture."""

"""Swaps faces in videos and pictures; every task's cache is isolated and never left behind."""

__version__ = "0.1.0"

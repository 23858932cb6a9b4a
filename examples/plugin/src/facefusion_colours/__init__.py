"""A plug-in for facefusion-runner: the target's face in the source's colours."""

from pathlib import Path

CATALOG = Path(__file__).with_name("catalog.toml")
"""What the entry point of the group `facefusion_runner.catalogs` names."""

"""The HTTP service: `facefusion-runner serve`."""

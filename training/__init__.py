"""How the built-in weights were made: data, networks, losses, training, export, evaluation. Needs PyTorch."""

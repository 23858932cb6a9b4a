"""The figures of the model cards, on pictures that no network has seen."""

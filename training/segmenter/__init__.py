"""The face segmenter: what each pixel of an aligned face shows."""

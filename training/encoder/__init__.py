"""`arcface_light`: the encoder, distilled from a public one and sharpened with an angular margin."""

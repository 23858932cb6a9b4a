"""The face detector `retinaface_light`: canvases full of faces, the network, its training and its figures."""

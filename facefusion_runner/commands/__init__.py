"""The commands, one file each; importing them loads neither NumPy, OpenCV, ONNX Runtime nor PyAV."""

"""The landmarker `face_mesh_468`: 468 points in three dimensions from one upright crop of a face."""

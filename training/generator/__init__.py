"""The mesh generator's blender: a small network trained adversarially that repairs what a warp cannot."""

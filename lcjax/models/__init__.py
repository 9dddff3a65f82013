"""Networks. They know nothing of data sets, meshes or files: arrays in, arrays out."""

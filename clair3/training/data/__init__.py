"""Truth, its unification, and labelled tensors in HDF5 bins."""

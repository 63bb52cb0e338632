"""The commands of `clair3`, and what their command lines share."""

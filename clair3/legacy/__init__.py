"""The sub-commands of Clair3 v2.0.2: their options and file formats; the other packages do the work."""

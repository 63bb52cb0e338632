"""Utilities that serve every package and import none: log, processes, progress, threads."""

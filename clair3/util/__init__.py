"""What serves every package and knows none of them: log, processes, progress, threads."""

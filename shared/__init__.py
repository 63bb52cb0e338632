"""What every room needs: records, regions, reference, platforms, options, errors, log."""

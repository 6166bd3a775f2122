"""Pure statistics: arrays in, figures out. NumPy (and SciPy where named), no files, no clocks, no settings."""

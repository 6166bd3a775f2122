"""Charts as Vega-Lite specifications made in Python: one chart for pages, reports and notebooks."""

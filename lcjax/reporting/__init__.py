"""Reports: runs and maps compared in tables, figures and one page."""

"""Weights from elsewhere: read, recognised by tables, and proved on arrival."""

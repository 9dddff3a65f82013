"""Many scenes, or several networks, in one map."""

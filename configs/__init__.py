"""One file per experiment family; `get_config(argument)` returns the resolved ml_collections.ConfigDict."""

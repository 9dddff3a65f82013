"""From downloaded files to batches of raw integers. Nothing here imports lcjax or jax."""

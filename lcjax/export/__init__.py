"""Networks that run without lcjax."""

"""Trained networks on a Hugging Face hub: pushed with a card for people, pulled and checked."""

"""The two halves of a Swin block, each as one kernel of a TPU: what is between them never reaches main memory."""

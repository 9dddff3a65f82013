"""Where numbers and pictures of a run go beside metrics.jsonl: TensorBoard, Weights & Biases, MLflow, or one's own."""

"""What a map is worth: a random sample of its pixels for people to label, and accuracy and areas estimated from it."""

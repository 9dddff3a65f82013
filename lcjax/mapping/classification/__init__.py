"""What a network that classifies whole patches says of them: tables in place of maps."""

"""What is held to the rules: a live database."""

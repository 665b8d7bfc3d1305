"""What a user types: read, completed and, where it is wrong, explained."""

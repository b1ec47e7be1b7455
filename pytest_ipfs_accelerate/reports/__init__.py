"""What the user reads: the failure of a case, the matrix in the terminal, the JSON file."""

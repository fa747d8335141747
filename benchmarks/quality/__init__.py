"""What consortiums and judging methods are worth, on questions whose answers are known."""

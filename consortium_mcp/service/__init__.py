"""The use cases: check, estimate, open, work on, follow, resume and replay a run; it knows no door."""

"""The use cases: resolve, check, estimate, open, work, follow, resume, replay; it knows no door."""

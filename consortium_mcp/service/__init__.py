"""The use cases: resolve, check, estimate, open, work, follow, replay. It knows no door."""

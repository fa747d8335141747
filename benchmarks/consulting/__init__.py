"""What a consult costs above its critical path, one at a time and 128 at once, beside servers that do less and others."""

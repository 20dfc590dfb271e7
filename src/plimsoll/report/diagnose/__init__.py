"""A diagnosis in words: one function per format, Diagnosis in, text out."""

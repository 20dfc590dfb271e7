"""Say it: one function per format, Review in, text out. Nothing here opens a file."""

"""The verbs at the command line. Only this layer opens files for people and reads the clock."""

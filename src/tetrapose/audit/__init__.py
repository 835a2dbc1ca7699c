"""What is wrong in a label file: checks as functions, raw columns in, findings out."""

"""What a network's output means: encode, loss, decode and mirror of one representation a file."""

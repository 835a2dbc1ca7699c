"""Weight files with their cards: what ships, what loads, what is refused."""

"""Files that run code when they are opened -> what they would import; nothing of it runs."""

"""What is forgotten: users who ask for it, and files and rows that nobody needs any more."""

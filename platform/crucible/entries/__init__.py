"""What participants hand in and what became of it: uploads, submissions and their events."""

"""Published scores and their ranks."""

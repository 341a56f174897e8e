"""Every page of the site but the admin's, and what the pages read."""

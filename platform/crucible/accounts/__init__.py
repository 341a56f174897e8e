"""Who may do what: users are Django's; programs prove themselves by tokens."""

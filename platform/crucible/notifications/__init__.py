"""Mail and signed webhooks about submissions: an outbox that the reconciler empties."""

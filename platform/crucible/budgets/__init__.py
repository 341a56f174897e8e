"""What a team may spend: GPU-hours and submissions at once, by scale, kept in an open ledger."""

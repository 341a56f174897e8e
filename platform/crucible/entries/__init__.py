"""Uploads, submissions, their moves and their append-only history."""

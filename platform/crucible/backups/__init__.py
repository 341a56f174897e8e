"""Backup and restore: one folder holds many backups, and each file's content once.

`store` is that folder, `making` fills it, `restoring` reads it, `dumps` runs PostgreSQL's own
programs. Nothing here needs Django: the supervisor runs it with the site up or down.
"""

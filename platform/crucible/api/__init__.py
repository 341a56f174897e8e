"""The HTTP interface that the `crucible` command talks to; its description is at /api/docs."""

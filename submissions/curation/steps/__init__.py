"""The steps that come with Crucible, one a file."""

"""The curation kit: a recipe file of named steps, run over shards by `crucible curate`."""

"""What a participant hands in, and the contracts that every stage of the way shares.

Holds the shard readers, the checks, hashing, the upload client, the job contract and the
`crucible` command. It imports neither Django nor the other packages of this repository.
"""

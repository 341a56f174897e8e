"""What a participant submits, and the contracts that all stages share.

Holds the shard readers, the checks, hashing, the upload client, the job contract and the
`crucible` command. It imports neither Django nor the other packages of this repository.
"""
